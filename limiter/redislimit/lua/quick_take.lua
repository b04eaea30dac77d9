-- The way of most calls: one key that exists, its limits are gates, buckets and slots in
-- their usual state, nobody waits for slots and nothing is reserved, and the call passes or
-- waits for a bucket. All else is decided below, by the same rules in other words: here the limits'
-- numbers are compared as bytes, and what the call takes of a bucket comes with it.
--
-- Every string that a script makes or is given is hashed byte by byte, so this makes few and
-- short ones, and no tables.
--
-- ARGV[1] begins with
--   B parts, c8 member, d lease, d share
--   B uses of the only part, or 0 for a call that can't be quick, B which of them is the slots or 255,
--   B priority, d longest wait, c8 id
-- and what take.lua reads. A quick call's ends with d step, d gap of four uses: a step moves main on, if
-- main is at most gap after now. The step is 0 and the gap is infinite where a use takes nothing of a bucket.
local args = ARGV[1]
local uses, slots, priority, longest, id, known = unpack('<BBBdc8d', args, 26)
local v = uses > 0 and call('GET', KEYS[2])
local version, limits = 0, 0
if v then version, limits = byte(v, 1, 2) end
if version == FORMAT and limits >= uses then
  local mains = sub('<BBBBddddddddd', 1, 10 + uses)
  local _, _, recent, void, seen, version, idle, since, restore, a, b, c, d = unpack(mains, v)
  local first = 45 + 8 * limits
  local place = void == 0 and known <= version and seen <= now and now < idle and not find(v, id, first, true) and
    find(v, sub(args, 54, 53 + 23 * uses), first, true)
  place = place and (place - first) / 23
  if place and place % 1 == 0 and place + uses <= limits and (slots == 255 or limits == uses) then
    if place > 0 then a, b, c, d = unpack(sub('<dddd', 1, 1 + uses), v, 45 + 8 * place) end
    b, c, d = b or 0, c or 0, d or 0 -- if there are fewer
    local stepA, gapA, stepB, gapB, stepC, gapC, stepD, gapD = unpack('<dddddddd', args, 54 + 39 * uses)
    local at, slow = now, 0
    if a - gapA > at then at = a - gapA end
    if b - gapB > at then at, slow = b - gapB, 1 end
    if c - gapC > at then at, slow = c - gapC, 2 end
    if d - gapD > at then at, slow = d - gapD, 3 end
    local sizes, middle = first + 23 * limits, first + 25 * limits
    local tail, leases, usual = middle, 0, true
    local member, lease, cost, most
    if slots < 255 or limits > uses then
      for q = sizes, middle - 2, 2 do tail = tail + unpack('<I2', v, q) end
    end
    if slots < 255 then
      member, lease = unpack('<c8d', args, 2)
      cost, most = unpack('<d', args, 54 + 23 * uses + 16 * slots), unpack('<d', args, 61 + 23 * slots)
      if cost > most then cost = most end
      local used = cost
      if tail > middle then leases = unpack('<I2', v, middle) end
      usual = restore <= now and since + lease / 3 < now + 1 and tail == (leases > 0 and middle + 2 + 36 * leases or middle)
      if usual then
        for q = middle + 18, middle + 36 * leases, 36 do
          local n, _, till = unpack('<I4dd', v, q)
          used = used + n
          usual = usual and till > now
        end
        usual = usual and used <= most and at == now -- a call that lacks units may claim them
      end
    end
    if usual and at > now and priority == 0 and at - now > longest then
      return pack('<BBBddBdB', 0, 0, slow, at - now, now, 1, version, 0)
    elseif usual and at == now then
      if stepA > 0 then a = (a > now and a or now) + stepA end
      if stepB > 0 then b = (b > now and b or now) + stepB end
      if stepC > 0 then c = (c > now and c or now) + stepC end
      if stepD > 0 then d = (d > now and d or now) + stepD end
      idle = max(idle, now + RECENT, a, b, c, d)
      local old = tail -- the front of recent
      while recent >= RECENT_MOST or recent > 0 and unpack('<d', v, old + 8) + RECENT <= now do
        old, recent = old + 16, recent - 1
      end
      local rest, bits = 45 + 8 * (place + uses), 9
      if slots < 255 then
        idle, bits = max(idle, now + lease), 1
        rest = sub(v, rest, sizes + 2 * slots - 1) .. pack('<I2', 2 + 36 * (leases + 1)) .. sub(v, sizes + 2 * slots + 2, middle - 1) ..
          pack('<I2', leases + 1) .. sub(v, middle + 2, tail - 1) .. pack('<c8c8I4dd', id, member, cost, now, now + lease) .. sub(v, old)
      elseif old == tail then
        rest = sub(v, rest)
      else
        rest = sub(v, rest, tail - 1) .. sub(v, old)
      end
      if place == 0 then
        v = pack(mains, FORMAT, limits, recent + 1, 0, now, version + 1, idle, since, restore, a, b, c, d)
      else
        v = pack('<BBBBddddd', FORMAT, limits, recent + 1, 0, now, version + 1, idle, since, restore) .. sub(v, 45, 44 + 8 * place) ..
          pack(sub('<dddd', 1, 1 + uses), a, b, c, d)
      end
      local left = idle - now
      call('SET', KEYS[2], v .. rest .. pack('<c8d', id, now), 'PX', left == RECENT and not set and RECENT_PX or format('%d', ceil(left / 1000) + unexpired))
      return pack('<BBBddBdB', bits, 0, 0, 0, now, 1, version + 1, 0)
    end
  end
end
