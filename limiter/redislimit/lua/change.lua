-- change notes what is known of one limit of the key KEYS[2] from elsewhere. ARGV[1] is
--   B kind, I6 tag, B kind of the limit, d units, d time, d sent, d hold, d remaining, d reset,
--   d quota, d count, I2 steps, steps times d, and the cause
-- ARGV[4] is the channel that changes are told on. The answer is
--   B epoch made, d refusals, d held, d version, and the cause

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

local function believe(x, left, reset, fixed)
  local slop = min(2 * SECOND, floor((reset - now) / 4))
  if fixed and x.last ~= 0 then reset = max(reset, x.last + x.time - slop) end
  if x.reset == 0 or x.guessed == 1 and not fixed then
    -- nothing is known, or nothing that a reply has told
  elseif x.guessed == 1 then
    left = min(left, x.left)
  elseif reset < x.first - x.slop then
    return false
  elseif reset <= x.first + x.slop then
    x.reset = max(x.reset, reset)
    if left > x.left then return false end
    x.left, x.began = left, now
    return true
  elseif fixed and now < x.reset - x.slop then
    left = min(left, x.left)
  end
  if fixed then left = min(left, x.most) end
  x.left, x.reset, x.first, x.slop, x.began, x.guessed = left, reset, reset, slop, now, 0
  return true
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
local value = load(key, change == 2)
local found = change ~= 2
if value then
  for i = 1, #value do found = found or value[i].tag == tag end
end
if not value or not found then return pack('<Bddd', began and 1 or 0, 0, 0, 0) end
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
  if x.hold then
    told = x.hold ~= 0 or x.allowed > 0
    x.hold, x.cause, x.allowed, x.probes = 0, '', 0, {}
  end
  if x.reset then x.reset, x.left, x.quota, x.guessed = 0, 0, 0, 0 end
else
  learn(x, remaining, reset, quota, count)
end
local version = changed(value)
save(value)
if told then
  call(sub(ARGV[4], 1, 1) == 'S' and 'SPUBLISH' or 'PUBLISH', sub(ARGV[4], 2), key)
end
local refusals, closed, why = 0, 0, ''
if x.hold then
  refusals = x.refusals
  if x.hold ~= 0 then closed = x.hold - now end
  if x.hold ~= 0 or x.allowed > 0 then why = x.cause end
end
return pack('<Bddd', began and 1 or 0, refusals, closed, version) .. why
