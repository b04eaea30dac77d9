-- The usual end: one call that had slots is over, and nobody waits for them. All else is
-- done below, as in quick_take.lua.
--
-- ARGV[1] begins with
--   I2 ends, B uses of the only one, or 0 if it can't be quick
--   for quick ends: c8 id, B which of the uses is the slots, 23 bytes a use as in a value
local args = ARGV[1]
local ends, uses, p = unpack('<I2B', args)
if uses > 0 and not set then -- a test's clock wants the value dropped to the microsecond
  local id, slots, q = unpack('<c8B', args, p)
  local v = call('GET', KEYS[2])
  if v and byte(v) == FORMAT then
    local _, limits, recent, void, seen, version, idle = unpack('<BBBBddd', v)
    local first = 45 + 8 * limits
    if limits == uses and void == 0 and now >= seen and now < idle and find(v, sub(args, q, q + 23 * uses - 1), first, true) == first then
      local size, middle = first + 23 * limits + 2 * slots, first + 25 * limits
      local tail = middle + unpack('<I2', v, size)
      local leases = tail > middle and unpack('<I2', v, middle) or 0
      q = leases > 0 and tail == middle + 2 + 36 * leases and find(v, id, middle + 2, true)
      if q and q < tail and (q - middle) % 36 == 2 and unpack('<d', v, q + 28) > now then
        local more = ''
        if leases > 1 then more = pack('<I2', leases - 1) .. sub(v, middle + 2, q - 1) .. sub(v, q + 36, tail - 1) end
        call('SET', KEYS[2], pack('<BBBBdd', FORMAT, limits, recent, 0, now, version + 1) .. sub(v, 21, size - 1) .. pack('<I2', #more) ..
          sub(v, size + 2, middle - 1) .. more .. sub(v, tail), 'PX', format('%d', ceil((idle - now) / 1000) + unexpired))
        return ''
      end
    end
  end
end
if uses > 0 then p = p + 9 + 23 * uses end
