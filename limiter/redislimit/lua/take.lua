-- take decides over one call. ARGV[1] is
--   the 44 bytes that quick_take.lua describes
--   parts times  d version, B uses, uses times I6 tag, B kind, d units, d time, and
--                uses times d cost, d headroom
-- share is in millionths. x.head is what backfill must leave that is not owed its share: such
-- a call is spare, it takes only what nobody else wants.
-- The answer is
--   B granted 1, held 2, forgot 4, no end 8, epoch made 16; B part, B use; d wait, d now
--   B parts, d version each; B counts, d each; and the cause

-- claimed is the time that a bucket takes for what others have claimed before a member. Once
-- its time has come there are units for all whose time has come.
local function claimed(x, member, priority, spare)
  local ahead, claims, before, due = 0, x.claims, #x.claims, false
  for i = 1, #claims do
    if claims[i].member == member and claims[i].priority == priority then
      before, due = i - 1, claims[i].till <= now + 250000
    end
  end
  for i = 1, before do
    if (spare or not claims[i].spare) and (not due or claims[i].till > now + 250000) then ahead = ahead + stepOf(x, claims[i].units) end
  end
  return ahead
end

-- claimUnits notes that a member wants n units of a bucket until then. It keeps its place if
-- it has claimed some.
local function claimUnits(x, member, priority, spare, n, till)
  x.claims = x.claims or {}
  local claims = x.claims
  for i = 1, #claims do
    local c = claims[i]
    if c.member == member and c.priority == priority then
      c.spare, c.units, c.till = spare, n, till
      return
    end
  end
  if #claims >= WAITERS_MOST then
    if spare then return end
    table.remove(claims, #claims - now % LOT_OF)
  end
  claims[#claims + 1] = {member = member, priority = priority, spare = spare, units = n, till = till}
end

-- unclaim ends what a member has claimed, since it got it.
local function unclaim(x, member, priority)
  local claims = x.claims
  for i = 1, #claims do
    if claims[i].member == member and claims[i].priority == priority then
      table.remove(claims, i)
      return
    end
  end
end

-- ready is when x.cost may pass, and whether another time than now can be promised.
local function ready(x, member, priority)
  local at, fits, n, kind = now, true, x.cost, x.kind
  if kind == 0 or kind == 4 then return at, true end
  if n > x.most then return now + x.time, false end
  if kind == 1 then
    if n > 0 then
      local step = stepOf(x, n)
      local room = max(x.time - stepOf(x, x.head or 0), step)
      local ahead = x.claims and claimed(x, member, priority, x.head) or 0
      at = max(now, max(x.main, now) + ahead + step - room)
    end
  elseif kind == 2 then
    if n > 0 then
      local log, quota, used = x.log, quotaFor(x, n), 0
      at = max(now, x.main)
      for i = 1, #log, 2 do used = used + log[i + 1] end
      for i = 1, #log, 2 do
        if log[i] + x.time < at then
          used = used - log[i + 1]
        else
          if used + n <= quota then break end
          used = used - log[i + 1]
          at = max(at, log[i] + x.time + 1)
        end
      end
      fits = #log < 512
    end
  elseif x.reset == 0 and n > quotaFor(x, n) then
    return now + x.time, false
  end
  if x.reset and x.reset ~= 0 and n > max(x.left, 0) then return max(at, x.reset), false end
  return at, fits and (at == now or not x.reset or x.reset == 0 or at < x.reset)
end

local function served(x, priority, n, share)
  if not x.credit then return end
  if priority == 1 then
    x.credit = max(0, x.credit - owed(n))
  elseif now < x.wanted + 2 * SECOND then
    x.credit = min(x.credit + floor(owed(n) * share / (WHOLE - share)), owed(min(x.most, 1e12)))
  end
end

local function owing(x)
  if not x.credit then x.credit, x.wanted = 0, 0 end
end

-- displace takes its place from one of the last members of a priority that wait, if they are
-- as many as can be.
local function displace(x, priority)
  local same = {}
  for i = 1, #x.waiters do
    if x.waiters[i].priority == priority then same[#same + 1] = i end
  end
  if #same >= WAITERS_MOST then table.remove(x.waiters, same[#same - now % LOT_OF]) end
end

-- placeOf is the place of a member among those that wait: the last one, if it has none yet.
local function placeOf(x, member, priority)
  for i = 1, #x.waiters do
    local w = x.waiters[i]
    if w.member == member and w.priority == priority then return w end
  end
  displace(x, priority)
  local w = {member = member, priority = priority, slots = 0, told = 0}
  x.waiters[#x.waiters + 1] = w
  return w
end

local function losePlace(x, member, priority)
  for i = 1, #x.waiters do
    local w = x.waiters[i]
    if w.member == member and w.priority == priority then
      table.remove(x.waiters, i)
      return
    end
  end
end

-- keepFrom keeps n slots for a member from the time at on, when the units that it lacks will be
-- there. Until then others may have them.
local function keepFrom(x, at, member, priority, n)
  local w = placeOf(x, member, priority)
  w.slots, w.told, w.till = n, at, at + 250000
end

-- claim reports whether a member may have n of all slots. If not, it waits.
local function claim(x, member, priority, n, all, key)
  local w = placeOf(x, member, priority)
  w.till = now + SECOND
  if w.told ~= 0 then
    local used = n
    for i = 1, #x.leases do used = used + x.leases[i].slots end
    if w.told > now or n > w.slots or used > all then w.told = 0 end
  end
  w.slots = n
  offer(x, all, key, w)
  return w.told ~= 0
end

local parts, member, lease, share = unpack('<Bc8dd', args)
local values, uses = {}, {}
for i = 1, parts do values[i] = load(KEYS[i + 1]) end

local bits, part, use, wait, cause, counts = 0, 0, 0, 0, '', ''
local function answer()
  local versions
  if parts == 1 then
    versions = pack('<d', values[1].version)
  else
    versions = {}
    for i = 1, parts do versions[i] = pack('<d', values[i].version) end
    versions = table.concat(versions)
  end
  if began then bits = bits + 16 end
  return pack('<BBBddB', bits, part, use, wait, now, parts) .. versions .. pack('B', #counts / 8) .. counts .. cause
end

-- What the process has seen of the values.
local p = 45
for i = 1, parts do
  local version, count = unpack('<dB', args, p)
  if version > values[i].version then
    forgotten(values[i], version, lease)
    if bits == 0 then bits = 4 end
  end
  p = p + 9 + 39 * count
end
local function keep()
  for i = 1, parts do
    if values[i].dirty then save(values[i]) end
  end
end

-- A take that is asked again, or that came too late.
for i = 1, parts do
  local value = values[i]
  if value.void ~= '' then
    local at = place(value.void, id)
    if at and max(unpack('<d', value.void, at + 8), -unpack('<d', value.void, at + 8)) > now then
      if unpack('<d', value.void, at + 8) < 0 then bits = bits + 1 end
      keep()
      return answer()
    end
  end
end
for i = 1, parts do
  local value = values[i]
  local at = value.recent ~= '' and place(value.recent, id)
  if at then
    at = unpack('<d', value.recent, at + 8)
    if now >= at + RECENT then at = false end
  end
  for j = 1, #value do
    local x = value[j]
    if at then break end
    if x.kind % 8 == 4 and x.more and find(x.more, id, 1, true) then
      if not x.open then open(x) end
      for k = 1, #x.leases do
        if x.leases[k].id == id and now < x.leases[k].till then at = x.leases[k].at end
      end
    end
  end
  if at then
    bits, wait = bits + 1, max(0, at - now)
    keep()
    return answer()
  end
end

-- What the call takes.
p = 45
local n, learns = 0, false
for i = 1, parts do
  local value, _, count = values[i]
  _, count, p = unpack('<dB', args, p)
  local q = p + 23 * count
  for j = 1, count do
    local tag, kind, most, time, cost, head
    tag, kind, most, time, p = unpack('<I6Bdd', args, p)
    cost, head, q = unpack('<dd', args, q)
    local x = state(value, tag, kind, most, time, j)
    x.cost = cost
    if priority == 1 and not (x.credit and x.credit >= max(cost, 1) * 1000) then x.head = head end
    if kind >= 16 then learns = true end
    n = n + 1
    uses[n] = x
    x.part, x.use = i - 1, j - 1
  end
  p = q
end
-- All but the free slots, which nobody may claim who could not go on.
local any, held, reserve, at, refused, some = false, false, longest > 0, now, nil, false
local ahead, spare = longest, false -- how far ahead it may reserve
local wanting = true -- nothing but units refuses it
for i = 1, n do
  local x = uses[i]
  local why, closed = 0, false
  local refuses = false
  if x.hold and x.hold ~= 0 then
    refuses, closed, why, held, wanting = true, true, x.hold - now, true, false
  elseif x.allowed and x.allowed > 0 and #x.probes >= x.allowed then
    refuses, reserve, wanting = true, false, false
  elseif x.kind == 4 and x.cost > 0 then
    reserve, some = false, true
    local value = values[x.part + 1]
    local till = fresh(value, lease)
    if till > now then
      refuses, why, wanting = true, till - now, false
    elseif x.most == 0 then
      refuses, why, wanting = true, SECOND, false
    end
  else
    local when, fits = now, true
    if x.open then
      when, fits = ready(x, member, priority)
    elseif x.cost > x.most then
      when, fits = now + x.time, false
    elseif x.cost > 0 then
      local time, main = x.time, x.main
      local step = ceil(x.cost * time / x.most)
      x.step = step
      local room = time
      if x.head then room = max(time - ceil(x.head * time / x.most), step) end
      if main < now then main = now end
      when = main + step - room
      if when < now then when = now end
    end
    if x.head and x.cost > 0 then
      spare = true
      -- Half of the headroom must be left, and a part of that if the caller does not wait for a second.
      if x.kind == 1 then ahead = min(ahead, floor(min(floor(stepOf(x, x.head) / 2), SECOND) * min(longest, SECOND) / SECOND)) end
    end
    if when > now or not fits then
      if when > at then at = when end
      if not fits or x.head and x.kind ~= 1 then reserve, wanting = false, false end
      refuses, why = true, when - now
      refused = refused or {}
      refused[#refused + 1] = x
    end
  end
  if refuses and (not any or closed and bits % 4 < 2 or closed == (bits % 4 >= 2) and why > wait) then
    any, part, use, wait = true, x.part, x.use, why
    if closed and bits % 4 < 2 then bits = bits + 2 end
    cause = (closed or x.allowed and x.allowed > 0) and x.cause or ''
  end
end
reserve = reserve and not held and at - now <= ahead
if reserve and any then
  for i = 1, n do
    local x = uses[i]
    if x.reset and x.reset ~= 0 and at >= x.reset then reserve = false end
  end
end
if any and not reserve then
  if priority == 1 and refused then
    for i = 1, #refused do
      local x = refused[i]
      if not x.open then open(x) end
      owing(x)
      x.wanted = now
      values[x.part + 1].dirty = true
    end
  end
  if (some or spare and longest > 0) and wanting then
    -- A little late, so that it does not come in vain. Meanwhile interactive calls take units.
    local late = 5000
    if some and spare then late = late + min(at - now, SECOND) end
    at, wait = at + late, wait + late
    for i = 1, #refused do
      local x = refused[i]
      if x.kind % 8 == 1 then
        if not x.open then open(x) end
        claimUnits(x, member, priority, spare, x.cost, at + 250000)
        values[x.part + 1].dirty = true
      end
    end
    for i = 1, n do
      local x = uses[i]
      if x.kind == 4 and x.cost > 0 then
        if spare then -- it keeps no slots from others
          losePlace(x, member, priority)
        else
          keepFrom(x, at, member, priority, min(x.cost, lowered(x, x.most)))
        end
        values[x.part + 1].dirty = true
      end
    end
  end
  keep()
  return answer()
end
if some then
  for i = 1, n do
    local x = uses[i]
    if x.kind == 4 and x.cost > 0 and not any then
      local value = values[x.part + 1]
      local all = lowered(x, x.most)
      value.dirty = true
      if not (#x.leases < 1000 and claim(x, member, priority, min(x.cost, all), all, value.key)) then
        any, part, use = true, x.part, x.use
        if priority == 1 then
          owing(x)
          x.wanted = now
        end
      end
    end
  end
  if any then
    keep()
    return answer()
  end
end

wait, cause, part, use = at - now, '', 0, 0
local ends, later = false, at > now
for i = 1, n do
  local x = uses[i]
  local cost = x.cost
  if later and x.kind == 1 and not x.open then open(x) end -- what is reserved of it
  if x.open then
    local kind = x.kind
    if kind == 4 and cost > 0 then
      cost = min(cost, lowered(x, x.most))
      x.leases[#x.leases + 1] = {id = id, member = member, slots = cost, at = now, till = now + lease}
      losePlace(x, member, priority)
      ends = true
    end
    if x.claims then unclaim(x, member, priority) end
    take(x, cost, at)
    if later and kind == 1 and cost > 0 then x.reserved = max(x.reserved or 0, at) + stepOf(x, cost) end
    if kind ~= 0 then served(x, priority, cost, share) end
    if x.hold then
      if x.allowed > 0 then
        x.probes[#x.probes + 1] = {id = id, till = now + max(lease, MINUTE)}
        ends = true
      end
      if x.refusals > 0 then ends = true end
    end
  elseif cost > 0 then
    local main = x.main
    if main < at then main = at end
    x.main = main + x.step
  end
end
local granted = id .. pack('<d', at)
for i = 1, parts do
  local value = values[i]
  value.recent = value.recent .. granted
  changed(value)
  save(value)
end
bits = bits + 1
if not ends then bits = bits + 8 end
if learns then
  counts = {}
  for i = 1, n do counts[i] = pack('<d', uses[i].granted or 0) end
  counts = table.concat(counts)
end
return answer()
