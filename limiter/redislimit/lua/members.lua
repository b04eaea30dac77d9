-- members keeps who shares the store, in KEYS[1]: 40 bytes a member, in no order.
--   c16 id, c8 numbers, d seen, d until
-- ARGV[1] is c16 id, c8 numbers, d expiry, B leave. The answer is c16 id, c8 numbers and d
-- since it was seen, of each.
local now = tonumber(ARGV[3])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1e6 + clock[2]
end
local id, numbers, expiry, leave = struct.unpack('<c16c8dB', ARGV[1])
local old, kept, seen, last = redis.call('GET', KEYS[1]) or '', {}, {}, now
for p = 1, #old - 39, 40 do
  local member, numbers, at, till = struct.unpack('<c16c8dd', old, p)
  if now < till and member ~= id then
    kept[#kept + 1] = string.sub(old, p, p + 39)
    seen[#seen + 1] = struct.pack('<c16c8d', member, numbers, math.max(0, now - at))
    last = math.max(last, till)
  end
end
if leave == 0 then
  kept[#kept + 1] = struct.pack('<c16c8dd', id, numbers, now, now + expiry)
  if expiry > 0 then seen[#seen + 1] = struct.pack('<c16c8d', id, numbers, 0) end
  last = math.max(last, now + expiry)
end
if last > now then
  redis.call('SET', KEYS[1], table.concat(kept), 'PX', string.format('%d', math.ceil((last - now) / 1000)))
else
  redis.call('DEL', KEYS[1])
end
return table.concat(seen)
