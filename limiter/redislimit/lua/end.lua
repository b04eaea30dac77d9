-- end tells what became of permits. ARGV[1] is
--   what quick_end.lua reads
--   ends times   c8 id, B ending, d ago, d lease, B parts
--     parts times  I2 key, B uses
--       uses times   I6 tag, B kind, d units, d time, d cost
-- key is the place in KEYS, as they are numbered from 0.

-- probed ends a permit's probe, if it is one; good = the provider may have let it through.
local function probed(x, id, good)
  for i = 1, #x.probes do
    if x.probes[i].id == id then
      table.remove(x.probes, i)
      if good then
        x.allowed, x.lapse = x.allowed + 1, now + MINUTE
        if x.allowed > 64 or x.kind == 4 and x.allowed >= x.most then x.allowed, x.probes = 0, {} end
      end
      return
    end
  end
end

-- newest reports whether no permit that is remembered was granted as of a later time than at.
local function newest(value, at)
  for i = 9, #value.recent, 16 do
    local other = unpack('<d', value.recent, i)
    if other > at and other + RECENT > now then return false end
  end
  return true
end

-- giveBack gives n units back that were granted as of the time at, as far as they are missing. A
-- bucket gets no fuller than what is reserved of it leaves; last = nothing is reserved after at.
local function giveBack(x, n, at, last)
  if x.kind == 1 then
    local back, reserved = stepOf(x, n) - max(0, now - at), x.reserved or 0
    if back > 0 then
      if at > now and last then
        reserved = max(0, reserved - back)
        x.reserved = reserved
      end
      x.main = max(reserved, x.main - back)
    end
  elseif x.kind == 2 then
    local log, late, kept = x.log, 0, {}
    if x.most > 64 then late = max(1, floor(x.time / 32)) end
    for i = #log - 1, 1, -2 do
      if log[i] <= at + late then
        if log[i] >= at - SECOND then log[i + 1] = max(0, log[i + 1] - n) end
        break
      end
    end
    for i = 1, #log, 2 do
      if log[i + 1] > 0 then kept[#kept + 1], kept[#kept + 2] = log[i], log[i + 1] end
    end
    x.log = kept
  elseif x.kind ~= 3 then
    return
  end
  if x.reset and x.reset ~= 0 and at >= x.began then x.left = x.left + n end
end

local start = now
local values = {}
for i = 1, ends do
  local id, ending, ago, lease, parts
  id, ending, ago, lease, parts, p = unpack('<c8BddB', args, p)
  local refund, over = ending == 2 or ending == 4, ending ~= 3 and ending ~= 4
  local good = ending == 1 or ending == 3
  for j = 1, parts do
    local key, count
    key, count, p = unpack('<I2B', args, p)
    now = start
    local value = values[key]
    if value then
      if value.seen > now then now = value.seen end
    else
      value = load(KEYS[key + 1], true)
      if not value and (refund or over and ago < RECENT) then value = load(KEYS[key + 1]) end
    end
    values[key] = value
    local ended, voided, known, when = false, false, false, nil
    if value then
      local at = place(value.void, id)
      if at then
        local till = unpack('<d', value.void, at + 8)
        if max(till, -till) > now then voided, ended = true, till > 0 end
      end
      at = place(value.recent, id)
      if at then
        when = unpack('<d', value.recent, at + 8)
        known = now < when + RECENT
      end
      if not known then
        for k = 1, #value do
          local x = value[k]
          if x.kind % 8 == 4 and (x.open or x.more and find(x.more, id, 1, true)) then
            if not x.open then open(x) end
            for m = 1, #x.leases do
              if x.leases[m].id == id and now < x.leases[m].till then known, when = true, x.leases[m].at end
            end
          end
        end
      end
      if not known then when = now - ago end
      if not ended and (refund or over and not known and ago < RECENT) then
        local till, from = now + lease, 1
        local mark = over and till or -till
        at = place(value.void, id)
        if at then
          local was = unpack('<d', value.void, at + 8)
          if max(was, -was) <= now then was = 0 end
          till = max(till, was, -was)
          mark = (over or was > 0) and till or -till
          value.void = sub(value.void, 1, at - 1) .. id .. pack('<d', mark) .. sub(value.void, at + 16)
        else
          value.void = value.void .. id .. pack('<d', mark)
        end
      end
    end
    local back = refund and not voided and (known or ago >= RECENT)
    for k = 1, count do
      local tag, kind, most, time, cost
      tag, kind, most, time, cost, p = unpack('<I6Bddd', args, p)
      local x
      if value and not ended then
        for m = 1, #value do
          if value[m].tag == tag then x = value[m] end
        end
      end
      if x and x.kind % 8 == kind % 8 then
        if not x.open then open(x) end
        advance(x)
        if x.time ~= time or x.most ~= most then tune(x, time, most) end
        if back then giveBack(x, cost, when, newest(value, when)) end
        if x.hold then
          if good and when >= x.refusedAt then x.refusals = 0 end
          probed(x, id, not refund)
        end
        if over and x.leases then
          for m = 1, #x.leases do
            if x.leases[m].id == id then
              table.remove(x.leases, m)
              offer(x, lowered(x, most), value.key)
              break
            end
          end
        end
      end
    end
    if value and not ended then
      changed(value)
      value.dirty = true
    end
  end
end
now = start
for _, value in pairs(values) do
  if value.dirty then
    now = max(start, value.seen)
    save(value)
  end
end
return began and 'B' or ''
