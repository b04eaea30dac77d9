-- members keeps who shares the store, in KEYS[1]: 49 bytes a member, in no order.
--   c16 id, c8 digest, c8 numbers, B apart, d seen, d until
-- KEYS[2] is a hash of the tables of their limits, by numbers.
-- ARGV[1] is c16 id, c8 digest, c8 numbers, d expiry, B leave, B apart, d lease, and the table.
-- ARGV[2] is what the channels begin with that members hear of freed slots by: who was not seen for
-- half a lease, and does not listen there, is gone. The answer is I2 members,
-- c16 id, c8 numbers, B apart 1 and gone 2, and d since it was seen, of each; and I2 size and the table of
-- other numbers, each once.
local now = tonumber(ARGV[3])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1e6 + clock[2]
end
local id, digest, own, expiry, leave, apart, lease, place = struct.unpack('<c16c8c8dBBd', ARGV[1])
local function gone(member)
  local name = string.gsub(member, '.', function(c) return string.format('%02x', string.byte(c)) end)
  local list = redis.pcall('PUBSUB', string.sub(ARGV[2], 1, 1) == 'S' and 'SHARDNUMSUB' or 'NUMSUB', string.sub(ARGV[2], 2) .. name)
  return not list.err and list[2] == 0
end
local old, kept, seen, last = redis.call('GET', KEYS[1]) or '', {}, {}, now
local others, tables, n = {}, {}, 0
for p = 1, #old - 48, 49 do
  local member, short, numbers, alone, at, till = struct.unpack('<c16c8c8Bdd', old, p)
  if now < till and member ~= id then
    kept[#kept + 1] = string.sub(old, p, p + 48)
    if now - at > math.floor(lease / 2) and gone(short) then alone = alone + 2 end
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
  kept[#kept + 1] = struct.pack('<c16c8c8Bdd', id, digest, own, apart, now, now + expiry)
  if expiry > 0 then seen[#seen + 1] = struct.pack('<c16c8Bd', id, own, apart, 0) end
  last = math.max(last, now + expiry)
  if not others[own] then others[own], n = true, n + 1 end
  if redis.call('HEXISTS', KEYS[2], own) == 0 then redis.call('HSET', KEYS[2], own, string.sub(ARGV[1], place)) end
end
if last > now then
  local unexpired = tonumber(ARGV[3]) and 3600000 or 0 -- with a test's clock
  local left = string.format('%d', math.ceil((last - now) / 1000) + unexpired)
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
