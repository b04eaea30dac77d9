-- change notes what is known of one limit of the key KEYS[2] from elsewhere. ARGV[1] is
--   B kind, I6 tag, B kind of the limit, d units, d time, d sent, d hold, d remaining, d reset,
--   d quota, d count, I2 steps, steps times d, and the cause
-- ARGV[4] is the channel that changes are told on, by the key, and a zero byte before it
-- where a limit of it was lifted. The answer is
--   B epoch made, d refusals, d held, d version, d lowered, d left, d reset, d quota, d count, and the cause

-- refuse counts a refusal of a call that was sent so long ago; less than 0 counts always.
local function refuse(x, sent, adapt)
  held(x)
  if x.refusals > 0 and now >= x.refusedAt + HOUR then x.refusals = 0 end
  if x.refusals > 0 and sent >= 0 and now - sent < x.refusedAt then return end
  x.refusals, x.refusedAt = min(x.refusals + 1, MOST_REFUSALS), now
  if adapt and now >= x.cutNext then
    x.cut = WHOLE - max(50000, floor((WHOLE - x.cut) * 700000 / WHOLE))
    x.cutAt, x.cutNext = now, now + SECOND
  end
end

-- learn takes note of what a reply says. reset is from now on, and 0 if it is not told.
local function learn(x, remaining, reset, quota, count)
  if remaining < 0 or reset < 0 or reset > 168 * HOUR or x.kind == 0 or x.kind == 4 then return end
  learned(x)
  if count > x.granted then count = 0 end
  local left, fixed = remaining - (x.granted - count), x.kind == 3
  if reset ~= 0 then
    if not believe(x, left, now + reset, fixed) then return end
  elseif count < x.count then
    return
  elseif x.kind == 1 then
    left = max(left, 0)
    if left < x.most then x.main = max(x.main, now + x.time - floor(left * x.time / x.most)) end
  elseif fixed and x.reset ~= 0 then
    x.left, x.began = min(x.left, left), now
  else
    x.left, x.began, x.reset, x.guessed = left, now, now + x.time, 1
  end
  x.heard, x.count = now, count
  if quota > 0 and x.kind ~= 1 then x.quota = quota end
end

local change, tag, kind, most, time, sent, hold, remaining, reset, quota, count, steps, p = unpack('<BI6BddddddddI2', ARGV[1])
local key = KEYS[2]
local adapt = floor(kind / 8) % 2 == 1
local value = load(key)
local x = state(value, tag, kind, most, time, 1)
if not x.open then
  open(x)
  advance(x)
end
local cause = sub(ARGV[1], p + steps * 8)
if cause ~= '' then cause = pack('<d', now) .. cause end
local told = false
if change == 0 then
  refuse(x, sent, adapt)
  local n = min(steps, x.refusals)
  if n > 0 then told = close(x, now + unpack('<d', ARGV[1], p + (n - 1) * 8), cause) end
elseif change == 1 then
  told = close(x, now + hold, cause)
elseif change == 2 then
  held(x)
  x.lifted = max(now, x.hold - HOUR / 3) -- remembered at least until the hold would have ended
  x.hold, x.cause, x.allowed, x.probes, told = 0, '', 0, {}, true
  if x.reset then x.reset, x.left, x.quota, x.guessed = 0, 0, 0, 0 end
else
  learn(x, remaining, reset, quota, count)
end
local version = changed(value)
save(value)
if told then
  call(sub(ARGV[4], 1, 1) == 'S' and 'SPUBLISH' or 'PUBLISH', sub(ARGV[4], 2), (change == 2 and '\0' or '') .. key)
end
local refusals, closed, why, cut, left, till, told, count = 0, 0, '', 0, 0, 0, 0, 0
if x.reset then
  told = x.quota
  if x.reset ~= 0 and x.guessed == 0 then left, till = max(0, x.left), x.reset - now end
  if kind >= 16 then count = x.granted end
end
if x.hold then
  refusals, cut = x.refusals, x.cut
  if x.hold ~= 0 then closed = x.hold - now end
  if x.hold ~= 0 or x.allowed > 0 then why = x.cause end
end
return pack('<Bdddddddd', began and 1 or 0, refusals, closed, version, cut, left, till, told, count) .. why
