-- What all scripts share: each of them is this text and its own.
--
-- Times are whole microseconds of the server's clock since 1970. All numbers are doubles,
-- which hold them exactly. What is right here is what package storetest's Memory does.
--
-- KEYS[1] is the epoch of the other keys, which are values: since when the server knows
-- anything of them. A value is, as struct.pack writes it:
--
--   B format, d seen, d version, d since, d restore, d idle, B limits, B recent, B void
--   limits times  I6 tag, B kind, d main, d time, d most, I2 size, and size bytes
--   recent times  c8 id, d at            grants that a repeated take is answered from
--   void times    c8 id, d until         takes that take nothing; until < 0: not ended yet
--
-- The value says nothing any more at the time idle, and is dropped then. tag is a digest
-- of a limit's name, and all ids are digests. main is tat of a bucket, at of a log. time and
-- most are the limit's numbers when it was last used. kind is 0 gate, 1 bucket, 2 log,
-- 3 fixed or 4 slots, and more by the bits that are set:
--
--   8   d hold, allowed, lapse, refusals, refusedAt, cut, cutAt, cutNext,
--       I2 probes, I2 size of the cause, probes times c8 id, d until, and the cause
--   16  d granted, left, reset, first, slop, since, last, heard, count, quota, guessed
--   32  d credit, wanted
--   64  I2 claims of a bucket, claims times c8 member, B priority, d units, d until
--
-- Then come of a log d at, d units each; of slots I2 leases, leases times c8 id,
-- c8 member, I4 slots, d at, d until, and c8 member, B priority, I4 slots, d until, d told
-- of each that waits.
local call, unpack, pack, sub, find = redis.call, struct.unpack, struct.pack, string.sub, string.find
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min

local FORMAT = 1
local WHOLE, SECOND, MINUTE, HOUR = 1e6, 1e6, 60e6, 3600e6
local RECENT, RECENT_MOST, VOID_MOST, MOST_REFUSALS = 2 * SECOND, 32, 64, 2 ^ 30
local LONGEST_STEP = 20 * 366 * 24 * HOUR

local clock = call('TIME')
local now = tonumber(ARGV[3]) or clock[1] * 1e6 + clock[2] -- ARGV[3] is for tests
local began = false -- whether this call made the epoch

-- load reads the value of a key. One that is missing, or as good as that, is as one that
-- was used up when the epoch began. With existing it is nil.
local function load(key, existing)
  local v = call('GET', key)
  local value
  if v then
    local format, seen, version, since, restore, idle, limits, recent, void, p = unpack('<BdddddBBB', v)
    if format > FORMAT then
      error('recourse: the value has the newer format ' .. format)
    end
    if seen > now then now = seen end
    if now < idle then
      value = {key = key, seen = seen, version = version, since = since, restore = restore, idle = idle, recent = '', void = ''}
      for i = 1, limits do
        local tag, kind, main, time, most, size, more
        tag, kind, main, time, most, size, p = unpack('<I6BdddI2', v, p)
        if size > 0 then
          more = sub(v, p, p + size - 1)
          p = p + size
        end
        value[i] = {tag = tag, kind = kind, main = main, time = time, most = most, more = more, cost = false}
      end
      if recent > 0 then
        value.recent = sub(v, p, p + recent * 16 - 1)
        p = p + recent * 16
      end
      if void > 0 then value.void = sub(v, p) end
      return value
    end
  end
  if existing then return nil end
  local epoch = tonumber(call('GET', KEYS[1]) or nil)
  if not epoch then
    epoch, began = now, true
    call('SET', KEYS[1], string.format('%d', now))
  end
  return {key = key, seen = 0, version = 0, since = epoch, restore = 0, idle = 0, recent = '', void = ''}
end

-- place returns where in recent or void an id stands, or nil.
local function place(list, id)
  local at = find(list, id, 1, true)
  while at and at % 16 ~= 1 do at = find(list, id, at + 1, true) end
  return at
end

-- slow returns what calls need only where a limit is not a bucket in its usual state: most
-- calls do not make these functions.
local function slow()
  local S = {}

  local function held(x)
    if not x.hold then
      x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext = 0, 0, 0, 0, 0, 0, 0, 0
      x.probes, x.cause = {}, ''
    end
  end
  S.held = held

  local function learned(x)
    if not x.reset then
      x.granted, x.left, x.reset, x.first, x.slop, x.began, x.last, x.heard, x.count, x.quota, x.guessed =
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    end
  end
  S.learned = learned

  local function owing(x)
    if not x.credit then x.credit, x.wanted = 0, 0 end
  end
  S.owing = owing

  -- open reads all that a limit has.
  local function open(x)
    local kind, more, p = x.kind, x.more or '', 1
    x.open = true
    local bits = floor(kind / 8)
    x.kind = kind % 8
    if bits % 2 == 1 then
      local probes, cause
      x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext, probes, cause, p = unpack('<ddddddddI2I2', more, p)
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
        x.claims[i] = {member = member, priority = priority, units = units, till = till}
      end
    end
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
  S.open = open

  -- shut writes all that a limit has into x.more, and returns the bits of its kind and when
  -- it is as good as new.
  function S.shut(x)
    local out, n, bits, idle = {}, 0, 0, 0
    local time = x.time
    if x.hold and (x.hold ~= 0 or x.allowed > 0 or x.refusals > 0 or x.cut > 0 or x.cutNext > now) then
      bits = bits + 8
      out[1] = pack('<ddddddddI2I2', x.hold, x.allowed, x.lapse, x.refusals, x.refusedAt, x.cut, x.cutAt, x.cutNext, #x.probes, #x.cause)
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
      idle = max(idle, x.wanted + 2 * SECOND)
    end
    if x.claims and #x.claims > 0 then
      bits = bits + 64
      n = n + 1
      out[n] = pack('<I2', #x.claims)
      for i = 1, #x.claims do
        local c = x.claims[i]
        n = n + 1
        out[n] = pack('<c8Bdd', c.member, c.priority, c.units, c.till)
        idle = max(idle, c.till)
      end
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
  function S.become(x, kind, at)
    x.kind, x.main, x.more, x.open, x.log, x.leases, x.waiters, x.claims = kind, 0, nil, true, nil, nil, nil, nil
    if x.reset then x.reset = nil; learned(x) end
    if kind == 2 then x.log = {} elseif kind == 3 then learned(x) elseif kind == 4 then x.leases, x.waiters = {}, {} end
    useUp(x, at)
  end

  function S.recover(x, at)
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
  S.lowered = lowered

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

  -- advance brings a limit up to now.
  function S.advance(x)
    if x.reset then
      if x.reset ~= 0 and now >= x.reset then
        if x.guessed == 0 then x.last = x.reset end
        x.reset, x.left, x.guessed = 0, 0, 0
      end
      if x.quota ~= 0 and now >= x.heard + HOUR then x.quota = 0 end
    end
    if x.hold then
      if x.hold ~= 0 and now >= x.hold then
        S.recover(x, x.hold)
        local over = x.hold
        x.hold = 0
        if x.kind == 1 then
          x.main = max(x.main, over + x.time)
        elseif not (x.kind == 3 and x.last ~= 0 and x.refusedAt <= x.last and x.last <= over) then
          x.allowed, x.lapse, x.probes = 1, over + MINUTE, {}
        end
      end
      if #x.probes > 0 then x.probes = still(x.probes, 'till') end
      if x.allowed > 0 and #x.probes == 0 and now >= x.lapse then x.allowed, x.probes = 0, {} end
      S.recover(x, now)
    end
    if x.credit and x.credit > 0 and now >= x.wanted + 2 * SECOND then x.credit = 0 end
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
        x.waiters = kept
      end
    end
  end

  -- step is what n units take of a bucket's time.
  function S.step(x, n)
    if n == 0 or x.most == 0 then return 0 end
    local t = n * x.time / x.most
    if x.cut and x.cut > 0 then t = t * WHOLE / (WHOLE - x.cut) end
    return min(ceil(t), LONGEST_STEP)
  end

  local function quotaFor(x, n)
    local quota = x.most
    if x.quota and x.quota ~= 0 then quota = min(quota, x.quota) end
    return max(lowered(x, quota), min(n, x.most))
  end

  -- ready is when x.cost may pass, and whether another time than now can be promised.
  function S.ready(x, head, member, priority)
    local at, fits, n, kind = now, true, x.cost, x.kind
    if kind == 0 or kind == 4 then return at, true end
    if n > x.most then return now + x.time, false end
    if kind == 1 then
      if n > 0 then
        local step = S.step(x, n)
        local room = max(x.time - S.step(x, head), step)
        local ahead = x.claims and S.claimed(x, member, priority) or 0
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

  -- claimed is the time that a bucket takes for what others have claimed before a member. Once
  -- its time has come there are units for all whose time has come.
  function S.claimed(x, member, priority)
    local ahead, claims, before, due = 0, x.claims, #x.claims, false
    for i = 1, #claims do
      if claims[i].member == member and claims[i].priority == priority then
        before, due = i - 1, claims[i].till <= now + 250000
      end
    end
    for i = 1, before do
      if not due or claims[i].till > now + 250000 then ahead = ahead + S.step(x, claims[i].units) end
    end
    return ahead
  end

  -- claimUnits notes that a member wants n units of a bucket until then. It keeps its place if
  -- it has claimed some.
  function S.claimUnits(x, member, priority, n, till)
    x.claims = x.claims or {}
    local claims = x.claims
    for i = 1, #claims do
      local c = claims[i]
      if c.member == member and c.priority == priority then
        c.units, c.till = n, till
        return
      end
    end
    if #claims < 64 then claims[#claims + 1] = {member = member, priority = priority, units = n, till = till} end
  end

  -- unclaim ends what a member has claimed, since it got it.
  function S.unclaim(x, member, priority)
    local claims = x.claims
    for i = 1, #claims do
      if claims[i].member == member and claims[i].priority == priority then
        table.remove(claims, i)
        return
      end
    end
  end

  -- keepFor keeps the place of a member, and the slots that it was told it may have, until
  -- the units have come at the time at that it lacks.
  function S.keepFor(x, member, priority, at)
    if at - now > SECOND then return end
    for i = 1, #x.waiters do
      local w = x.waiters[i]
      if w.member == member and w.priority == priority then
        w.till = max(w.till, at + 250000)
        if w.told ~= 0 then w.told = max(w.told, at) end
      end
    end
  end

  -- take takes n units as of the time at.
  function S.take(x, n, at)
    local kind = x.kind
    if kind == 1 then
      if n > 0 then x.main = max(x.main, at) + S.step(x, n) end
    elseif kind == 2 then
      if n > 0 then
        local log = x.log
        x.main = max(x.main, at)
        if x.most > 64 then
          local part = max(1, floor(x.time / 32))
          at = floor((at + part - 1) / part) * part
        end
        local i = #log - 1
        if i >= 1 and log[i] >= at then
          log[i + 1] = log[i + 1] + n
        else
          log[i + 2], log[i + 3] = at, n
        end
      end
    elseif kind == 3 then
      if x.reset == 0 and n > 0 then
        x.left, x.began, x.reset, x.guessed = quotaFor(x, n), at, at + x.time, 1
      end
    else
      return
    end
    if x.reset then
      x.left = x.left - n
      x.granted = min(x.granted + n, 2 ^ 53)
    end
  end

  local function owed(n) return max(n, 1) * 1000 end
  S.owed = owed

  function S.served(x, priority, n, share)
    if not x.credit then return end
    if priority == 1 then
      x.credit = max(0, x.credit - owed(n))
    elseif now < x.wanted + 2 * SECOND then
      x.credit = min(x.credit + floor(owed(n) * share / (WHOLE - share)), owed(min(x.most, 1e12)))
    end
  end

  -- offer tells those whose turn it is, but for self, that they may have slots.
  function S.offer(x, all, key, self)
    local free, credit, told = all, x.credit or 0, nil
    for i = 1, #x.leases do free = free - x.leases[i].slots end
    for i = 1, #x.waiters do
      local w = x.waiters[i]
      if w.told ~= 0 then
        free = free - min(w.slots, all)
        if w.priority == 1 then credit = credit - owed(w.slots) end
      end
    end
    while true do
      local first, back
      for i = 1, #x.waiters do
        local w = x.waiters[i]
        if w.told == 0 then
          if w.priority == 1 then back = back or w else first = first or w end
        end
      end
      if back and (not first or credit >= owed(back.slots)) then first = back end
      if not first or min(first.slots, all) > free then return end
      first.told = now
      free = free - min(first.slots, all)
      if first.priority == 1 then credit = credit - owed(first.slots) end
      if first ~= self then
        local channel = sub(ARGV[2], 2) .. string.gsub(first.member, '.', function(c) return string.format('%02x', string.byte(c)) end)
        call(sub(ARGV[2], 1, 1) == 'S' and 'SPUBLISH' or 'PUBLISH', channel, key)
      end
    end
  end

  -- claim reports whether a member may have n of all slots. If not, it waits.
  function S.claim(x, member, priority, n, all, key)
    local w
    for i = 1, #x.waiters do
      local o = x.waiters[i]
      if o.member == member and o.priority == priority then w = o end
    end
    if not w then
      if #x.waiters >= 64 then
        S.offer(x, all, key)
        return false
      end
      w = {member = member, priority = priority, slots = 0, told = 0}
      x.waiters[#x.waiters + 1] = w
    end
    w.till = now + SECOND
    if w.told ~= 0 and n > w.slots then w.told = 0 end
    w.slots = n
    S.offer(x, all, key, w)
    return w.told ~= 0
  end

  -- close closes x until the given time, and reports whether that changes anything.
  function S.close(x, till, cause)
    held(x)
    if till <= now or till <= x.hold then return false end
    x.hold, x.cause, x.allowed, x.probes = till, cause, 0, {}
    return true
  end

  -- refuse counts a refusal of a call that was sent so long ago; less than 0 counts always.
  function S.refuse(x, sent, adapt)
    held(x)
    if x.refusals > 0 and now >= x.refusedAt + HOUR then x.refusals = 0 end
    if x.refusals > 0 and sent >= 0 and now - sent < x.refusedAt then return end
    x.refusals, x.refusedAt = min(x.refusals + 1, MOST_REFUSALS), now
    if adapt and now >= x.cutNext then
      x.cut = WHOLE - max(50000, floor((WHOLE - x.cut) * 700000 / WHOLE))
      x.cutAt, x.cutNext = now, now + SECOND
    end
  end

  -- probed ends a permit's probe, if it is one; good = the provider may have let it through.
  function S.probed(x, id, good)
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

  -- refund gives n units back that were granted as of the time at, as far as they are missing.
  function S.refund(x, n, at)
    if x.kind == 1 then
      local back = S.step(x, n) - max(0, now - at)
      if back > 0 then x.main = max(0, x.main - back) end
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

  -- charge takes n units that were granted without the server.
  function S.charge(x, n)
    if x.kind == 1 then
      x.main = max(x.main, min(max(x.main, now) + S.step(x, n), now + 2 * x.time))
      if x.reset then
        x.left, x.granted = x.left - n, min(x.granted + n, 2 ^ 53)
      end
    else
      S.take(x, min(n, x.most), now)
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
  function S.learn(x, remaining, reset, quota, count)
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

  return S
end

-- tune lets a limit go on with other numbers. A bucket keeps its level, so that a change
-- never grants anything.
local function tune(x, time, most)
  if x.kind % 8 == 1 and most > 0 and x.most > 0 then
    local level = x.most - max(0, x.main - now) * x.most / x.time
    x.main = now + min(ceil(max(0, most - level) * time / most), 2 * time)
  end
  x.time, x.most = time, most
end

-- state returns the state of a limit, as it is now. kind has 16 more if replies tell what is
-- left of it. i is where the limit stands in the value, if nothing has changed.
local S
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
    if kind == 1 and not learn then
      if value.since + time > now then x.main = value.since + time end
      return x
    end
    S = S or slow()
    S.become(x, kind, value.since)
  elseif x.kind == 1 and kind == 1 and not learn then
    if x.time ~= time or x.most ~= most then tune(x, time, most) end
    return x
  else
    S = S or slow()
    if not x.open then S.open(x) end
    if x.kind ~= kind then
      x.time, x.most = time, most
      S.become(x, kind, now)
      value.dirty = true
    end
    S.advance(x)
    if x.time ~= time or x.most ~= most then tune(x, time, most) end
  end
  if learn and kind ~= 0 and kind ~= 4 then S.learned(x) end
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
  end
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
  local recent, void, idle = value.recent, value.void, max(value.idle, value.restore)
  if recent ~= '' then
    recent = trim(recent, RECENT_MOST, RECENT)
    if recent ~= '' then idle = max(idle, unpack('<d', recent, #recent - 7) + RECENT) end
  end
  if void ~= '' then
    void = trim(void, VOID_MOST, 0)
    for i = 9, #void, 16 do
      local till = unpack('<d', void, i)
      idle = max(idle, till < 0 and -till or till)
    end
  end
  local out, since = {}, value.since
  for i = 1, #value do
    local x = value[i]
    local kind = x.kind
    if x.open then
      local bits, at = S.shut(x)
      kind = kind + bits
      if at > idle then idle = at end
    elseif x.main > idle then
      idle = x.main
    end
    if since + x.time > idle then idle = since + x.time end
    local more = x.more
    if more then
      out[i] = pack('<I6BdddI2', x.tag, kind, x.main, x.time, x.most, #more) .. more
    else
      out[i] = pack('<I6BdddI2', x.tag, kind, x.main, x.time, x.most, 0)
    end
  end
  local n = #value
  out[n + 1] = recent
  out[n + 2] = void
  local keep = idle - now
  if keep <= 0 then
    call('DEL', value.key)
    return
  end
  call('SET', value.key, pack('<BdddddBBB', FORMAT, value.seen, value.version, since, value.restore, idle, n, #recent / 16, #void / 16) .. table.concat(out),
    'PX', string.format('%d', ceil(keep / 1000)))
end

-- changed notes a change of the value, and returns its version.
local function changed(value)
  if now > value.seen then value.seen = now end
  value.version = value.version + 1
  return value.version
end
