-- members keeps who shares the store, in KEYS[1]: 41 bytes a member, in no order.
--   c16 id, c8 numbers, B apart, d seen, d until
-- KEYS[2] is a hash of the tables of their limits, by numbers.
-- ARGV[1] is c16 id, c8 numbers, d expiry, B leave, B apart, and the table. The answer is I2 members,
-- c16 id, c8 numbers, B apart and d since it was seen, of each; and I2 size and the table of
-- other numbers, each once.
local now = tonumber(ARGV[3])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1e6 + clock[2]
end
local id, own, expiry, leave, apart, place = struct.unpack('<c16c8dBB', ARGV[1])
local old, kept, seen, last = redis.call('GET', KEYS[1]) or '', {}, {}, now
local others, tables, n = {}, {}, 0
for p = 1, #old - 40, 41 do
  local member, numbers, alone, at, till = struct.unpack('<c16c8Bdd', old, p)
  if now < till and member ~= id then
    kept[#kept + 1] = string.sub(old, p, p + 40)
    seen[#seen + 1] = struct.pack('<c16c8Bd', member, numbers, alone, math.max(0, now - at))
    last = math.max(last, till)
    if not others[numbers] then
      others[numbers], n = true, n + 1
      local t = numbers ~= own and redis.call('HGET', KEYS[2], numbers)
      if t then tables[#tables + 1] = struct.pack('<I2', #t) .. t end
    end
  end
end
if leave == 0 then
  kept[#kept + 1] = struct.pack('<c16c8Bdd', id, own, apart, now, now + expiry)
  if expiry > 0 then seen[#seen + 1] = struct.pack('<c16c8Bd', id, own, apart, 0) end
  last = math.max(last, now + expiry)
  if not others[own] then others[own], n = true, n + 1 end
  if redis.call('HEXISTS', KEYS[2], own) == 0 then redis.call('HSET', KEYS[2], own, string.sub(ARGV[1], place)) end
end
if last > now then
  local left = string.format('%d', math.ceil((last - now) / 1000))
  redis.call('SET', KEYS[1], table.concat(kept), 'PX', left)
  if redis.call('HLEN', KEYS[2]) > n then -- of processes that are gone
    for _, numbers in ipairs(redis.call('HKEYS', KEYS[2])) do
      if not others[numbers] then redis.call('HDEL', KEYS[2], numbers) end
    end
  end
  redis.call('PEXPIRE', KEYS[2], left)
else
  redis.call('DEL', KEYS[1], KEYS[2])
end
return struct.pack('<I2', #seen) .. table.concat(seen) .. table.concat(tables)
