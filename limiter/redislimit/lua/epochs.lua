-- epochs makes the epochs that are missing: from now on the server knows their keys.
local clock = redis.call('TIME')
local now = string.format('%d', tonumber(ARGV[3]) or clock[1] * 1e6 + clock[2])
for i = 1, #KEYS do redis.call('SET', KEYS[i], now, 'NX') end
return ''
