-- credential takes one step of the refresh of a credential. KEYS[1] is the epoch and KEYS[2]
-- the credential, a hash. ARGV is step, member, lease, known generation, fence, spent, reusable,
-- retry, what calls end as, and for tests the time. Times are microseconds. The answer is
-- phase, generation, fence, wait and since, and what calls end as, with blanks between.
-- What is right here is what package storetest's Credentials does.
local BEGIN, EXTEND, SPEND, SAVED, FAILED, LOST, FOUND, RENEWED = 0, 1, 2, 3, 4, 5, 6, 7
local IDLE, YOURS, BUSY, NEWER, UNKNOWN, BACKOFF = 0, 1, 2, 3, 4, 5
local KEPT = 90 * 24 * 3600 * 1000 -- ms

local step, member, lease = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local known, fence = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = tonumber(ARGV[10]) or clock[1] * 1e6 + clock[2]

local function answer(phase, generation, last, wait, since, as)
  return string.format('%d %d %d %d %d ', phase, generation, last, wait, since) .. as
end

local old = redis.call('HMGET', KEYS[2], 'generation', 'fence', 'owner', 'till', 'spent', 'reusable', 'unknown', 'retry', 'as', 'seen')
local function number(i) return tonumber(old[i] or '0') end
local missing = not old[1]
now = math.max(now, number(10))
local c = {
  generation = math.max(number(1), known), fence = math.max(number(2), fence), owner = old[3] or '', till = number(4),
  spent = number(5), reusable = number(6), unknown = number(7), retry = number(8), as = old[9] or '',
}

if c.owner ~= '' and now >= c.till then -- the lease has run out
  c.owner = ''
  if c.spent == 1 and c.reusable == 0 then c.unknown = c.till else c.spent = 0 end
end
if missing and step ~= BEGIN then c.owner, c.till = member, now + lease end
local mine = c.owner == member and c.fence == fence
-- latest: the lease may have run out, but nobody else has had one since.
local latest = mine or c.owner == '' and c.fence == fence and c.generation == known
local ms = math.floor(now / 1000)

local function renew()
  c = {generation = math.max(c.generation + 1, ms), fence = c.fence, owner = '', till = 0, spent = 0, reusable = 0, unknown = 0, retry = 0, as = ''}
end

if step == BEGIN then
  if missing then
    local epoch = redis.call('GET', KEYS[1])
    if not epoch then
      redis.call('SET', KEYS[1], string.format('%d', now))
      epoch = now
    end
    local quiet = tonumber(epoch) + math.floor(lease / 3) - now
    if quiet > 0 then return answer(BUSY, known, 0, quiet, 0, '') end -- an owner may be about to say that it has the lease
  end
  if c.generation > known or c.unknown ~= 0 or c.retry > now then
    -- no lease is given
  elseif c.owner == '' or c.owner == member and c.spent == 0 then
    -- Where the process has the lease already, an answer was lost, or what it has told of the end of
    -- an earlier refresh. That must not end this one when it arrives after all, so the number is new.
    c.fence = math.max(c.fence + 1, ms)
    c.owner, c.till, c.spent, c.reusable = member, now + lease, 0, 0
  end
elseif step == EXTEND then
  if latest then
    c.owner, c.till, c.unknown = member, now + lease, 0
    -- Else it may have been sent before Spend, and arrived after it.
    if ARGV[6] == '1' then c.spent, c.reusable = 1, tonumber(ARGV[7]) end
  end
elseif step == SPEND then
  if mine then c.till, c.spent, c.reusable = now + lease, 1, tonumber(ARGV[7]) end
elseif step == SAVED or step == FOUND then
  if c.fence == fence and c.generation == known then renew() end
elseif step == FAILED then
  if latest then
    c.owner, c.unknown, c.spent, c.retry, c.as = '', 0, 0, now + tonumber(ARGV[8]), ARGV[9]
    c.fence = c.fence + 1 -- so that an Extend that arrives later does not bring the lease back
  end
elseif step == LOST then
  if mine then
    c.owner, c.unknown = '', now
    c.spent, c.reusable = 1, 0 -- also for an Extend that was sent before Spend, and arrives now
  end
elseif step == RENEWED then
  -- Else a lease has begun since, or has spent its token since: it may be the new credential's.
  if c.fence == fence and (ARGV[6] == '1' or c.spent == 0) then
    renew()
    c.fence = c.fence + 1 -- so that a lease from before has ended
  end
end

redis.call('HSET', KEYS[2], 'generation', string.format('%d', c.generation), 'fence', string.format('%d', c.fence), 'owner', c.owner,
  'till', string.format('%d', c.till), 'spent', c.spent, 'reusable', c.reusable, 'unknown', string.format('%d', c.unknown),
  'retry', string.format('%d', c.retry), 'as', c.as, 'seen', string.format('%d', now))
if c.unknown ~= 0 or c.owner ~= '' and c.spent == 1 then
  redis.call('PERSIST', KEYS[2]) -- that a token may be spent is never forgotten
else
  redis.call('PEXPIRE', KEYS[2], KEPT)
end

if c.generation > known then return answer(NEWER, c.generation, c.fence, 0, 0, '') end
if c.unknown ~= 0 then return answer(UNKNOWN, c.generation, c.fence, 0, now - c.unknown, '') end
if c.owner == member and (c.fence == fence or step == BEGIN and c.spent == 0) then return answer(YOURS, c.generation, c.fence, 0, 0, '') end
if c.owner ~= '' then return answer(BUSY, c.generation, c.fence, c.till - now, 0, '') end
if c.retry > now then return answer(BACKOFF, c.generation, c.fence, c.retry - now, 0, c.as) end
return answer(IDLE, c.generation, c.fence, 0, 0, '')
