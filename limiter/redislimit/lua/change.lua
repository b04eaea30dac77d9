-- change notes what is known of one limit of the key KEYS[2] from elsewhere. ARGV[1] is
--   B kind, I6 tag, B kind of the limit, d units, d time, d sent, d hold, d remaining, d reset,
--   d quota, d count, I2 steps, steps times d, and the cause
-- ARGV[4] is the channel that changes are told on. The answer is
--   B epoch made, d refusals, d held, d version, and the cause
local change, tag, kind, most, time, sent, hold, remaining, reset, quota, count, steps, p = unpack('<BI6BddddddddI2', ARGV[1])
local key = KEYS[2]
local adapt = floor(kind / 8) % 2 == 1
local value = load(key, change == 2)
local found = change ~= 2
if value then
  for i = 1, #value do found = found or value[i].tag == tag end
end
if not value or not found then
  local version = 0
  if value then
    version = changed(value)
    save(value)
  end
  return pack('<Bddd', began and 1 or 0, 0, 0, version)
end
local x = state(value, tag, kind, most, time, 1)
S = S or slow()
if not x.open then
  S.open(x)
  S.advance(x)
end
local cause = sub(ARGV[1], p + steps * 8)
if cause ~= '' then cause = pack('<d', now) .. cause end
local told = false
if change == 0 then
  S.refuse(x, sent, adapt)
  local n = min(steps, x.refusals)
  if n > 0 then told = S.close(x, now + unpack('<d', ARGV[1], p + (n - 1) * 8), cause) end
elseif change == 1 then
  told = S.close(x, now + hold, cause)
elseif change == 2 then
  if x.hold then
    told = x.hold ~= 0 or x.allowed > 0
    x.hold, x.cause, x.allowed, x.probes = 0, '', 0, {}
  end
  if x.reset then x.reset, x.left, x.quota, x.guessed = 0, 0, 0, 0 end
else
  S.learn(x, remaining, reset, quota, count)
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
