-- Limits: what is kept of each, as it is now.

local function held(x)
  if not x.hold then
    x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext, x.lifted = 0, 0, 0, 0, 0, 0, 0, 0, 0
    x.probes, x.cause = {}, ''
  end
end

local function learned(x)
  if not x.reset then
    x.granted, x.left, x.reset, x.first, x.slop, x.began, x.last, x.heard, x.count, x.quota, x.guessed =
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
  end
end

-- open reads all that a limit has.
local function open(x)
  local kind, more, p = x.kind, x.more or '', 1
  x.open = true
  local bits = floor(kind / 8)
  x.kind = kind % 8
  if bits % 2 == 1 then
    local probes, cause
    x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext, x.lifted, probes, cause, p = unpack('<dddddddddI2I2', more, p)
    x.probes = {}
    for i = 1, probes do
      local id, till
      id, till, p = unpack('<c8d', more, p)
      x.probes[i] = {id = id, till = till}
    end
    x.cause = sub(more, p, p + cause - 1)
    p = p + cause
  end
  if floor(bits / 2) % 2 == 1 then
    x.granted, x.left, x.reset, x.first, x.slop, x.began, x.last, x.heard, x.count, x.quota, x.guessed, p = unpack('<ddddddddddd', more, p)
  end
  if floor(bits / 4) % 2 == 1 then
    x.credit, x.wanted, p = unpack('<dd', more, p)
  end
  if floor(bits / 8) % 2 == 1 then
    local n
    n, p = unpack('<I2', more, p)
    x.claims = {}
    for i = 1, n do
      local member, priority, units, till
      member, priority, units, till, p = unpack('<c8Bdd', more, p)
      x.claims[i] = {member = member, priority = priority % 2, spare = priority >= 2, units = units, till = till}
    end
  end
  if bits >= 16 then x.reserved, p = unpack('<d', more, p) end
  if x.kind == 2 then
    local log, n = {}, 0
    while p < #more do
      log[n + 1], log[n + 2], p = unpack('<dd', more, p)
      n = n + 2
    end
    x.log = log
  elseif x.kind == 3 then
    learned(x)
  elseif x.kind == 4 then
    local leases, waiters, n = {}, {}, 0
    if p < #more then n, p = unpack('<I2', more, p) end
    for i = 1, n do
      local id, member, slots, at, till
      id, member, slots, at, till, p = unpack('<c8c8I4dd', more, p)
      leases[i] = {id = id, member = member, slots = slots, at = at, till = till}
    end
    while p < #more do
      local member, priority, slots, till, told
      member, priority, slots, till, told, p = unpack('<c8BI4dd', more, p)
      waiters[#waiters + 1] = {member = member, priority = priority, slots = slots, till = till, told = told}
    end
    x.leases, x.waiters = leases, waiters
  end
end

local function recover(x, at)
  local n = floor((at - x.cutAt) / 200)
  if x.cut > 0 and n > 0 then
    x.cut = max(0, x.cut - n)
    x.cutAt = x.cutAt + n * 200
  end
end

-- lowered is n under the refusals, and at least 1.
local function lowered(x, n)
  if not x.cut or x.cut == 0 then return n end
  return max(1, floor(n * (WHOLE - x.cut) / WHOLE))
end

local function still(list, field)
  local kept, n = {}, 0
  for i = 1, #list do
    if now < list[i][field] then
      n = n + 1
      kept[n] = list[i]
    end
  end
  return kept
end

-- advance brings a limit up to now, and reports whether that has changed more than time does.
local function advance(x)
  local other = false
  if x.reset then
    if x.reset ~= 0 and now >= x.reset then
      if x.guessed == 0 then x.last = x.reset end
      x.reset, x.left, x.guessed, other = 0, 0, 0, true
    end
    if x.quota ~= 0 and now >= x.heard + HOUR then x.quota, other = 0, true end
  end
  if x.hold then
    if x.hold ~= 0 and now >= x.hold then
      recover(x, x.hold)
      local over = x.hold
      x.hold, other = 0, true
      if x.kind == 1 then
        x.main = max(x.main, over + x.time)
      elseif not (x.kind == 3 and x.last ~= 0 and x.refusedAt <= x.last and x.last <= over) then
        x.allowed, x.lapse, x.probes = 1, over + MINUTE, {}
      end
    end
    if x.lifted ~= 0 and now >= x.lifted + HOUR / 3 then x.lifted, other = 0, true end
    if #x.probes > 0 then x.probes = still(x.probes, 'till') end
    if x.allowed > 0 and #x.probes == 0 and now >= x.lapse then x.allowed, x.probes, other = 0, {}, true end
    recover(x, now)
  end
  if x.credit and x.credit > 0 and now >= x.wanted + 2 * SECOND then x.credit, other = 0, true end
  if x.claims then x.claims = still(x.claims, 'till') end
  if x.log then
    local log = x.log
    if #log > 0 and log[1] + x.time < now then
      local kept, n = {}, 0
      for i = 1, #log, 2 do
        if log[i] + x.time >= now then
          kept[n + 1], kept[n + 2] = log[i], log[i + 1]
          n = n + 2
        end
      end
      x.log = kept
    end
  elseif x.leases then
    local leases, waiters = x.leases, x.waiters
    for i = 1, #leases do
      if now >= leases[i].till then
        x.leases = still(leases, 'till')
        break
      end
    end
    if #waiters > 0 then
      local kept = {}
      for i = 1, #waiters do
        local w = waiters[i]
        if now < w.till and (w.told == 0 or now < w.told + 250000) then kept[#kept + 1] = w end
      end
      other = other or #kept < #waiters
      x.waiters = kept
    end
  end
  return other
end

-- tune lets a limit go on with other numbers. A bucket keeps its level, so that a change
-- never grants anything.
local function tune(x, time, most)
  if x.kind % 8 == 1 and most > 0 and x.most > 0 then
    local level = x.most - max(0, x.main - now) * x.most / x.time
    x.main = now + min(ceil(max(0, most - level) * time / most), 2 * time)
    if x.reserved then x.reserved = min(x.reserved, x.main) end
  end
  x.time, x.most = time, most
end

-- stepOf is what n units take of a bucket's time.
local function stepOf(x, n)
  if n == 0 or x.most == 0 then return 0 end
  local t = n * x.time / x.most
  if x.cut and x.cut > 0 then t = t * WHOLE / (WHOLE - x.cut) end
  return min(ceil(t), LONGEST_STEP)
end
