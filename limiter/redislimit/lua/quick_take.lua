-- The way of most calls: one key that exists, its limits are gates, buckets and slots in
-- their usual state, nobody waits for slots, and the call passes, reserves, or waits for a
-- bucket. All else is decided below, by the same rules in other words: here a limit's
-- numbers are compared as bytes, and what the call takes of a bucket comes with it.
--
-- ARGV[1] begins with
--   c8 member, d lease, I4 cost and I4 units of the slots
--   B uses, or 0 for a call that can't be quick, B which of them is the slots or 255, B priority,
--   d longest wait, c8 id
--   for quick calls: 23 bytes a use as in a value, d version, and a use d step, d room
local args = ARGV[1]
local uses, slots, priority, longest, id, p = unpack('<BBBdc8', args, 25)
local member, lease, cost, most
local v = uses > 0 and call('GET', KEYS[2])
if v and byte(v) == FORMAT then
  local _, limits, recent, void, seen, version, idle = unpack('<BBBBddd', v)
  local first = 45 + 8 * limits
  local place = limits <= 4 and void == 0 and find(v, sub(args, p, p + 23 * uses - 1), first, true)
  place = place and (place - first) / 23
  if place and place % 1 == 0 and place + uses <= limits and (slots == 255 or limits == uses) and now >= seen and now < idle and
    not find(v, id, first, true) then
    local mains = '<' .. rep('d', limits)
    local M = {unpack(mains, v, 45)}
    local S = {unpack('<' .. rep('d', 1 + 2 * uses), args, p + 23 * uses)}
    local at, slow, usual = now, 0, version >= S[1]
    for i = 1, uses do
      local step = S[2 * i]
      if step > 0 then
        local when = max(M[place + i], now) + step - S[2 * i + 1]
        if when > at then at, slow = when, i - 1 end
      end
    end
    local sizes, middle = first + 23 * limits, first + 25 * limits
    local tail, leases = middle, 0
    if slots < 255 then member, lease, cost, most = unpack('<c8dI4I4', args) end
    if slots < 255 or limits > uses then
      for q = sizes, middle - 2, 2 do tail = tail + unpack('<I2', v, q) end
    end
    if slots < 255 then
      local used, since, restore = cost, unpack('<dd', v, 29)
      if tail > middle then leases = unpack('<I2', v, middle) end
      usual = usual and max(restore, since + floor(lease / 3)) <= now and tail == (leases > 0 and middle + 2 + 36 * leases or middle)
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
    elseif usual and (at == now or priority == 0) then
      idle = max(idle, at + RECENT)
      for i = 1, uses do
        local step = S[2 * i]
        if step > 0 then
          local main = max(M[place + i], at) + step
          M[place + i] = main
          if main > idle then idle = main end
        end
      end
      local old = tail -- the front of recent
      while recent >= RECENT_MOST or recent > 0 and unpack('<d', v, old + 8) + RECENT <= now do
        old, recent = old + 16, recent - 1
      end
      local body
      if slots < 255 then
        idle = max(idle, now + lease)
        body = sub(v, first, sizes + 2 * slots - 1) .. pack('<I2', 2 + 36 * (leases + 1)) .. sub(v, sizes + 2 * slots + 2, middle - 1) ..
          pack('<I2', leases + 1) .. sub(v, middle + 2, tail - 1) .. pack('<c8c8I4dd', id, member, cost, now, now + lease) .. sub(v, old)
      elseif old == tail then
        body = sub(v, first)
      else
        body = sub(v, first, tail - 1) .. sub(v, old)
      end
      call('SET', KEYS[2], pack('<BBBBddd', FORMAT, limits, recent + 1, 0, now, version + 1, idle) .. sub(v, 29, 44) .. pack(mains, M[1], M[2], M[3], M[4]) ..
        body .. id .. pack('<d', at), 'PX', ceil((idle - now) / 1000) + unexpired)
      return pack('<BBBddBdB', slots < 255 and 1 or 9, 0, 0, at - now, now, 1, version + 1, 0)
    end
  end
end
if uses > 0 then p = p + 39 * uses + 8 end
member, lease = unpack('<c8d', args)
