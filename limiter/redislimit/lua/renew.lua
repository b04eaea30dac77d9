-- renew renews what a process holds of some keys, and charges what it owes. ARGV[1] is
--   c8 member, d lease, B leave, I2 leases, I2 debts
--   leases times  I2 key, I6 tag, B kind, d units, d time, c8 id, d slots, d version,
--                 d refusals, d held, d lowered, d left, d reset, d quota, d age,
--                 I2 size of the cause, and the cause
--   debts times   I2 key, I6 tag, B kind, d units, d time, c8 id, d units owed
-- key is the place in KEYS, as they are numbered from 0. ARGV[4] is the channel of changes.
-- The answer is B forgot 1 and epoch made 2, and for each lease B 1 if it is lost.

-- charge takes n units that were granted without the server.
local function charge(x, n)
  if x.kind == 1 then
    x.main = max(x.main, min(max(x.main, now) + stepOf(x, n), now + 2 * x.time))
    if x.reset then
      x.left, x.granted = x.left - n, min(x.granted + n, 2 ^ 53)
    end
  else
    take(x, min(n, x.most), now)
  end
end

-- restore takes what a process knew of a limit that was forgotten, unless it was lifted since.
local function restore(x, learn, refusals, closed, cut, left, reset, quota, age, cause)
  held(x)
  if x.lifted ~= 0 and now - age <= x.lifted then return end
  close(x, now + closed, cause)
  refusals, cut = min(refusals, MOST_REFUSALS), min(cut, WHOLE - 50000)
  if refusals > x.refusals then x.refusals, x.refusedAt = refusals, now end
  if cut > x.cut then x.cut, x.cutAt = cut, now end
  if not learn or x.kind == 0 or x.kind == 4 then return end
  if reset > 0 and reset <= 168 * HOUR then believe(x, left - x.granted, now + reset, x.kind == 3) end
  if quota > 0 and (x.quota == 0 or quota < x.quota) and age < HOUR and x.kind ~= 1 then
    x.quota, x.heard = quota, now - age
  end
end

local args = ARGV[1]
local member, lease, leave, leases, debts, p = unpack('<c8dBI2I2', args)
local start = now
local values, restoring, lost, forgot = {}, {}, {}, 0
local none = string.rep('\0', 8)
local function at(key)
  now = start
  local value = values[key]
  if not value then
    value = load(KEYS[key + 1])
    values[key] = value
  elseif value.seen > now then
    now = value.seen
  end
  return value
end
local function note(value)
  changed(value)
  value.dirty = true
end
for i = 1, leases do
  local key, tag, kind, most, time, id, slots, version, refusals, closed, cut, left, reset, quota, age, size
  key, tag, kind, most, time, id, slots, version, refusals, closed, cut, left, reset, quota, age, size, p =
    unpack('<I2I6Bddc8dddddddddI2', args, p)
  local cause = sub(args, p, p + size - 1)
  p = p + size
  local value = at(key)
  if restoring[key] == nil or version > value.version then
    if version > value.version then
      forgotten(value, version, lease)
      forgot = 1
    end
    restoring[key] = fresh(value, lease) > now
  end
  local x = state(value, tag, kind, most, time, 0)
  if not x.open then
    open(x)
    advance(x)
  end
  if restoring[key] and leave == 0 then
    restore(x, kind >= 16, refusals, closed, cut, left, reset, quota, age, cause)
    note(value)
  end
  local all = lowered(x, most)
  local own
  if x.leases then
    for k = 1, #x.leases do
      if x.leases[k].id == id then own = k end
    end
  end
  lost[i] = '\0'
  if leave == 1 then
    if x.leases then
      local kept = {}
      for k = 1, #x.waiters do
        if x.waiters[k].member ~= member then kept[#kept + 1] = x.waiters[k] end
      end
      x.waiters = kept
      if own then table.remove(x.leases, own) end
      offer(x, all, value.key)
    end
    note(value)
  elseif id == none or slots <= 0 or not x.leases then
    -- it only knows what it has said
  elseif own then
    x.leases[own].till = max(x.leases[own].till, now + lease)
    note(value)
  else
    local ended = place(value.void, id)
    ended = ended and unpack('<d', value.void, ended + 8) > now
    if not ended then
      local used = 0
      for k = 1, #x.leases do used = used + x.leases[k].slots end
      if not restoring[key] and (used + slots > all or #x.waiters > 0) or #x.leases >= 1000 then
        lost[i] = '\1'
      else
        x.leases[#x.leases + 1] = {id = id, member = member, slots = slots, at = now, till = now + lease}
        note(value)
      end
    end
  end
end
for i = 1, debts do
  local key, tag, kind, most, time, id, units
  key, tag, kind, most, time, id, units, p = unpack('<I2I6Bddc8d', args, p)
  local value = at(key)
  local known = place(value.void, id)
  if known then
    known = unpack('<d', value.void, known + 8)
    known = max(known, -known) > now
  end
  if not known and units > 0 then
    value.void = value.void .. id .. pack('<d', now + max(lease, MINUTE))
    local x = state(value, tag, kind, most, time, 0)
    if not x.open then
      open(x)
      advance(x)
    end
    charge(x, units)
    note(value)
  end
end
for _, value in pairs(values) do
  now = max(start, value.seen)
  if value.dirty then save(value) end
end
return string.char(forgot + (began and 2 or 0)) .. table.concat(lost)
