-- pause makes changes to the accounts that are paused, and tells what others have changed.
-- What is right here is what package storetest's Memory does. Times are microseconds. KEYS are
--
--   1  a hash: an account's entry, by its 16 bytes: d version, d change, d at, d end, B resumed,
--      c16 by, d number, and the reason. end 0 = it has none. An entry that is over is kept for KEPT
--   2  a sorted set: accounts by their change, which is the place in the order
--   3  a sorted set: accounts by end
--   4  a string: d number of this memory, d latest change, and the latest changes of requests: d each
--
-- ARGV[1] is d store, d change, d page of the mark, I2 changes, and for each change
--   c16 account, d version, B late, d after, B resumed, d ago, d left, c16 by, d number, I2 size, and the reason
-- ARGV[4] is the channel on which changes are told. The answer is
--   B lost 1 and more 2, d store, d change, d page, I2 changes, B full 1 and newer 2 and an entry of each, and entries:
--   c16 account, d version, B resumed, d ago, d left, c16 by, d number, I2 size, and the reason
local unpack, pack, call, list = struct.unpack, struct.pack, redis.call, unpack
local max, min, sub = math.max, math.min, string.sub
local MOST, TOLD, MARKS, KEPT = 10000, 200, 200, 30 * 24 * 3600 * 1e6
local entries, order, ends, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NOTHING = string.rep('\0', 67)

local store, change, page, changes, p = unpack('<dddI2', ARGV[1])
local own, last = 0, 0
local head = call('GETRANGE', meta, 0, 15)
if head ~= '' then own, last = unpack('<dd', head) end
if changes == 0 and page == 0 and store == own and change == last then
  return pack('<BdddI2', 0, own, last, 0, 0) -- nothing has changed
end

local now = tonumber(ARGV[3] or '')
if not now then
  local clock = call('TIME')
  now = clock[1] * 1e6 + clock[2]
end
local function score(n) return string.format('%.0f', n) end

local marks = sub(call('GET', meta) or '', 17)
local size = call('HLEN', entries)
if size ~= call('ZCARD', order) or size ~= call('ZCARD', ends) or size > 0 and own == 0 then
  call('DEL', entries, order, ends, meta) -- the server has dropped a part of it
  own, last, marks = 0, 0, ''
end

local lost, after = 0, 0
if change ~= 0 then
  local known, wanted = false, pack('<d', change)
  local at = string.find(marks, wanted, 1, true)
  while at and not known do
    known = at % 8 == 1
    at = string.find(marks, wanted, at + 1, true)
  end
  if store ~= own or not known then
    lost = 1
  elseif page ~= 0 then
    after = page
  else
    after = change
  end
end

-- Changes.

local function drop(names)
  for i = 1, #names, 1000 do
    local some = {}
    for j = i, min(i + 999, #names) do some[#some + 1] = names[j] end
    call('HDEL', entries, list(some))
    call('ZREM', order, list(some))
    call('ZREM', ends, list(some))
  end
end

local function over(till, resumed) return resumed == 1 or till ~= 0 and now >= till end

local function told(name, entry)
  local version, _, at, till, resumed, by, number = unpack('<ddddBc16d', entry)
  local reason, left = sub(entry, 58), 0
  if over(till, resumed) then
    resumed, reason, left = 1, '', max(1, till + KEPT - now)
  elseif till ~= 0 then
    left = till - now
  end
  return pack('<c16dBddc16dI2', name, version, resumed, max(0, now - at), left, by, number, #reason) .. reason
end

local out, n, before, count = {}, 0, last, 0
if changes > 0 then
  drop(call('ZRANGEBYSCORE', ends, '-inf', score(now - KEPT)))
  local many = call('ZCOUNT', ends, '-inf', score(now)) - MOST
  if many > 0 then drop(call('ZRANGE', ends, 0, many - 1)) end
  count = call('ZCOUNT', ends, '(' .. score(now), '+inf')
end
for _ = 1, changes do
  local name, version, late, newer, resumes, ago, left, by, number, length
  name, version, late, newer, resumes, ago, left, by, number, length, p = unpack('<c16dBdBddc16dI2', ARGV[1], p)
  local reason = sub(ARGV[1], p, p + length - 1)
  p = p + length
  local old = call('HGET', entries, name)
  local back, again = version ~= 0, false
  local known, more = 0, resumes == 1 and 0 or 1
  if old then
    local was, _, _, till, resumed, who, which = unpack('<ddddBc16d', old)
    known = was
    if not back and who == by then newer, again = max(newer, known), number <= which end -- who made that knows it
    if not over(till, resumed) then more = more - 1 end
  end
  local at, till, full = now - ago, 0, 0
  if not back and late == 1 then
    version = max(now - ago, newer + 1)
  elseif not back then
    version, at = max(last + 1, now, newer + 1, known + 1), now
  end
  if not back and min(known, 2 ^ 52) > newer and not again then full = 2 end
  if resumes == 1 then
    till = now
    if back and left > 0 then till = now - KEPT + min(left, KEPT) end
  elseif left > 0 then
    till = now + left
  end
  if again or full == 2 or version <= known or left < 0 then
    -- it stays as it is
  elseif more > 0 and count >= MOST then
    full = 1
  else
    if own == 0 then own = now end
    last = max(last + 1, now)
    old = pack('<ddddBc16d', version, last, at, till, resumes, by, number) .. reason
    call('HSET', entries, name, old)
    call('ZADD', order, score(last), name)
    call('ZADD', ends, till == 0 and '+inf' or score(till), name)
    count = count + more
  end
  n = n + 1
  out[n] = string.char(full) .. (old and told(name, old) or NOTHING)
end
if last ~= before then
  marks = sub(marks .. pack('<d', last), -8 * MARKS)
  call('SET', meta, pack('<dd', own, last) .. marks)
  call(sub(ARGV[4], 1, 1) == 'S' and 'SPUBLISH' or 'PUBLISH', sub(ARGV[4], 2), 'pauses')
end

-- What others have changed.

local n, more, left, from = #out, 0, TOLD, '(' .. score(after)
repeat
  local names = call('ZRANGEBYSCORE', order, from, '+inf', 'LIMIT', 0, TOLD + 1)
  local found = #names > 0 and call('HMGET', entries, list(names)) or {}
  for i = 1, #names do
    local _, place, _, till, resumed = unpack('<ddddB', found[i])
    from = '(' .. score(place)
    if not over(till, resumed) or now < till + KEPT then
      if left == 0 then
        more = 2
        break
      end
      n = n + 1
      out[n] = told(names[i], found[i])
      left, after = left - 1, place
    end
  end
until #names <= TOLD or more ~= 0
return pack('<BdddI2', lost + more, own, last, more ~= 0 and after or 0, changes) .. table.concat(out)
