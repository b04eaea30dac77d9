-- Limits that a value may not have yet, and values that were forgotten.

-- useUp takes all of a limit as of the time at.
local function useUp(x, at)
  if at + x.time <= now then return end
  if x.kind == 1 then
    x.main = max(x.main, at + x.time)
  elseif x.kind == 2 then
    local n = x.most
    local parts = min(n, 64)
    local log = {}
    x.main = max(x.main, at)
    for i = 1, parts do
      local t = at - x.time + floor(x.time * i / parts)
      if t + x.time >= now then
        log[#log + 1] = t
        log[#log + 1] = floor((n + parts - 1) / parts)
      end
    end
    x.log = log
  end
end

-- become makes x count in another way, as if it had been used up at the time at.
local function become(x, kind, at)
  x.kind, x.main, x.more, x.open, x.log, x.leases, x.waiters, x.claims, x.reserved = kind, 0, nil, true, nil, nil, nil, nil, nil
  if x.reset then x.reset = nil; learned(x) end
  if kind == 2 then x.log = {} elseif kind == 3 then learned(x) elseif kind == 4 then x.leases, x.waiters = {}, {} end
  useUp(x, at)
end

-- state returns the state of a limit, as it is now. kind has 16 more if replies tell what is
-- left of it. i is where the limit stands in the value, if nothing has changed.
local function state(value, tag, kind, most, time, i)
  local x = value[i]
  if not x or x.tag ~= tag then
    x = nil
    for j = 1, #value do
      if value[j].tag == tag then
        x = value[j]
        break
      end
    end
  end
  local learn = kind >= 16
  kind = kind % 8
  if not x then
    x = {tag = tag, kind = kind, main = 0, time = time, most = most, more = nil, cost = false}
    value[#value + 1] = x
    value.dirty = true
    if kind == 1 and not learn then
      if value.since + time > now then x.main = value.since + time end
      return x
    end
    become(x, kind, value.since)
  elseif x.kind == 1 and kind == 1 and not learn then
    if x.time ~= time or x.most ~= most then
      tune(x, time, most)
      value.dirty = true
    end
    return x
  else
    if not x.open then open(x) end
    if x.kind ~= kind then
      x.time, x.most = time, most
      become(x, kind, now)
      value.dirty = true
    end
    if advance(x) then value.dirty = true end
    if x.time ~= time or x.most ~= most then
      tune(x, time, most)
      value.dirty = true
    end
  end
  if learn and kind ~= 0 and kind ~= 4 then learned(x) end
  return x
end

-- forgotten takes note that a process has seen a newer version of the value.
local function forgotten(value, version, lease)
  value.version = max(value.version, min(version, 2 ^ 53))
  value.since, value.restore = now, max(value.restore, now + floor(lease / 3))
  value.dirty = true
  for i = 1, #value do
    local x = value[i]
    if x.kind % 8 == 1 then x.main = max(x.main, now + x.time) end
    if floor(x.kind / 16) % 2 == 1 and not x.open then open(x) end
    if x.reset then x.granted, x.count = 0, 0 end
  end
end

-- close closes x until the given time, and reports whether that changes anything.
local function close(x, till, cause)
  held(x)
  if till <= now or till <= x.hold then return false end
  x.hold, x.cause, x.allowed, x.probes = till, cause, 0, {}
  return true
end
