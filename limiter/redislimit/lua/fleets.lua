-- fleets keeps which settings the processes of this server have, in KEYS[1]: 32 bytes each of
--   c8 fleet, c8 prefix, c8 secret, d until
-- all but the time digests. ARGV[1] is one such entry, with d for how long it counts. The
-- answer is c8 prefix and c8 secret of all others of the same fleet.
local now = tonumber(ARGV[3])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1e6 + clock[2]
end
local own, span = string.sub(ARGV[1], 1, 24), struct.unpack('<d', ARGV[1], 25)
local old, kept, others = redis.call('GET', KEYS[1]) or '', {}, {}
for p = 1, math.min(#old, 3200) - 31, 32 do
  local entry = string.sub(old, p, p + 23)
  if entry ~= own and now < struct.unpack('<d', old, p + 24) then
    kept[#kept + 1] = string.sub(old, p, p + 31)
    if string.sub(entry, 1, 8) == string.sub(own, 1, 8) then others[#others + 1] = string.sub(entry, 9) end
  end
end
table.insert(kept, 1, own .. struct.pack('<d', now + span))
redis.call('SET', KEYS[1], table.concat(kept), 'PX', string.format('%d', math.ceil(span / 1000)))
return table.concat(others)
