-- Writing values.

-- shut writes all that a limit has into x.more, and returns the bits of its kind and when
-- it is as good as new.
local function shut(x)
  local out, n, bits, idle = {}, 0, 0, 0
  local time = x.time
  if x.hold and (x.hold ~= 0 or x.allowed > 0 or x.refusals > 0 or x.cut > 0 or x.cutNext > now or x.lifted > 0) then
    bits = bits + 8
    out[1] = pack('<dddddddddI2I2', x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext, x.lifted, #x.probes, #x.cause)
    n = 1
    for i = 1, #x.probes do
      n = n + 1
      out[n] = pack('<c8d', x.probes[i].id, x.probes[i].till)
    end
    n = n + 1
    out[n] = x.cause
    if x.hold ~= 0 then idle = x.hold + max(MINUTE, time) end
    if x.allowed > 0 then
      idle = max(idle, x.lapse)
      for i = 1, #x.probes do idle = max(idle, x.probes[i].till) end
    end
    if x.refusals > 0 then idle = max(idle, x.refusedAt + HOUR) end
    if x.lifted > 0 then idle = max(idle, x.lifted + HOUR / 3) end
    if x.cut > 0 then idle = max(idle, x.cutAt + x.cut * 200) end
  end
  if x.reset and (x.kind == 3 or x.granted > 0 or x.reset ~= 0 or x.last ~= 0 or x.quota ~= 0) then
    bits = bits + 16
    n = n + 1
    out[n] = pack('<ddddddddddd', x.granted, x.left, x.reset, x.first, x.slop, x.began, x.last, x.heard, x.count, x.quota, x.guessed)
    idle = max(idle, x.reset)
    if x.quota > 0 then idle = max(idle, x.heard + HOUR) end
  end
  if x.credit and now < x.wanted + 2 * SECOND then
    bits = bits + 32
    n = n + 1
    out[n] = pack('<dd', x.credit, x.wanted)
    if x.credit > 0 then idle = max(idle, x.wanted + 2 * SECOND) end
  end
  if x.claims and #x.claims > 0 then
    bits = bits + 64
    n = n + 1
    out[n] = pack('<I2', #x.claims)
    for i = 1, #x.claims do
      local c = x.claims[i]
      n = n + 1
      out[n] = pack('<c8Bdd', c.member, c.spare and c.priority + 2 or c.priority, c.units, c.till)
      idle = max(idle, c.till)
    end
  end
  if x.reserved and x.reserved > now then
    bits = bits + 128
    n = n + 1
    out[n] = pack('<d', x.reserved)
  end
  if x.kind == 1 then
    idle = max(idle, x.main)
  elseif x.kind == 2 then
    local log = x.log
    for i = 1, #log, 2 do
      n = n + 1
      out[n] = pack('<dd', log[i], log[i + 1])
    end
    if #log > 0 then idle = max(idle, log[#log - 1] + time + 1) end
  elseif x.kind == 4 and (#x.leases > 0 or #x.waiters > 0) then
    n = n + 1
    out[n] = pack('<I2', #x.leases)
    for i = 1, #x.leases do
      local l = x.leases[i]
      n = n + 1
      out[n] = pack('<c8c8I4dd', l.id, l.member, l.slots, l.at, l.till)
      idle = max(idle, l.till)
    end
    for i = 1, #x.waiters do
      local w = x.waiters[i]
      n = n + 1
      out[n] = pack('<c8BI4dd', w.member, w.priority, w.slots, w.till, w.told)
      idle = max(idle, w.till)
    end
  end
  x.more = n > 0 and table.concat(out) or nil
  return bits, idle
end

-- trim drops what does not count any more from recent or void, from its front.
local function trim(list, most, keep)
  local from = 1
  if #list > most * 16 then from = #list - most * 16 + 1 end
  while from < #list do
    local at = unpack('<d', list, from + 8)
    if at < 0 then at = -at end
    if at + keep > now then break end
    from = from + 16
  end
  if from > 1 then return sub(list, from) end
  return list
end

-- save writes the value.
local function save(value)
  local recent, void, idle = value.recent, value.void, value.restore
  if recent ~= '' then
    recent = trim(recent, RECENT_MOST, RECENT)
    for i = 9, #recent, 16 do idle = max(idle, unpack('<d', recent, i) + RECENT) end
  end
  if void ~= '' then
    void = trim(void, VOID_MOST, 0)
    for i = 9, #void, 16 do
      local till = unpack('<d', void, i)
      idle = max(idle, till < 0 and -till or till)
    end
  end
  local n, since = #value, value.since
  local out = {}
  for i = 1, n do
    local x = value[i]
    if x.more and not x.open then open(x) end
    local kind = x.kind
    if x.open then
      local bits, at = shut(x)
      kind = kind + bits
      if at > idle then idle = at end
    elseif x.main > idle then
      idle = x.main
    end
    if since + x.time > idle then idle = since + x.time end
    out[1 + i] = pack('<d', x.main)
    out[1 + n + i] = pack('<I6Bdd', x.tag, kind, x.most, x.time)
    out[1 + 2 * n + i] = pack('<I2', x.more and #x.more or 0)
    out[1 + 3 * n + i] = x.more or ''
  end
  if idle <= now then
    call('DEL', value.key)
    return
  end
  out[1] = pack('<BBBBddddd', FORMAT, n, #recent / 16, #void / 16, value.seen, value.version, idle, since, value.restore)
  out[2 + 4 * n] = recent
  out[3 + 4 * n] = void
  call('SET', value.key, table.concat(out), 'PX', format('%d', ceil((idle - now) / 1000) + unexpired))
end

-- changed notes a change of the value, and returns its version.
local function changed(value)
  if now > value.seen then value.seen = now end
  value.version = value.version + 1
  return value.version
end
