-- Values: reading them.

local floor, min = math.floor, math.min
local WHOLE, SECOND, MINUTE, HOUR = 1e6, 1e6, 60e6, 3600e6
local VOID_MOST, WAITERS_MOST, LOT_OF, MOST_REFUSALS = 64, 256, 61, 2 ^ 30
local LONGEST_STEP = 20 * 366 * 24 * HOUR

local began = false -- whether this call made the epoch

local function epoch()
  local at = tonumber(call('GET', KEYS[1]) or nil)
  if not at then
    at, began = now, true
    call('SET', KEYS[1], format('%d', now))
  end
  return at
end

-- load reads the value of a key. One that is missing, or as good as that, is as one that
-- was used up when the epoch began. With existing it is nil.
local function load(key, existing)
  local v = call('GET', key)
  local value
  if v then
    if byte(v) > FORMAT then
      error('recourse: the value has the newer format ' .. byte(v))
    end
    local _, limits, recent, void, seen, version, idle, since, restore = unpack('<BBBBddddd', v)
    if not (seen < now + 366 * 24 * HOUR) then
      error('recourse: the value cannot be read')
    end
    if seen > now then now = seen end
    if now < idle then
      value = {key = key, seen = seen, version = version, since = since, restore = restore, recent = '', void = ''}
      local p = 45 + 33 * limits
      for i = 1, limits do
        local tag, kind, most, time = unpack('<I6Bdd', v, 22 + 8 * limits + 23 * i)
        local size, more = unpack('<I2', v, 43 + 31 * limits + 2 * i), nil
        if size > 0 then
          more = sub(v, p, p + size - 1)
          p = p + size
        end
        value[i] = {tag = tag, kind = kind, main = unpack('<d', v, 37 + 8 * i), time = time, most = most, more = more, cost = false}
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
  return {key = key, seen = 0, version = 0, since = epoch(), restore = 0, recent = '', void = ''}
end

-- fresh is until when no slots of a value are given out, because processes put back what
-- they have.
local function fresh(value, lease)
  lease = floor(lease / 3)
  if value.since + lease <= now then return value.restore end
  return max(value.restore, epoch() + lease)
end

-- place returns where in recent or void an id stands last, or nil. A grant that does not count any
-- more can stand before that of the same id which does.
local function place(list, id)
  local at, last = find(list, id, 1, true), nil
  while at do
    if at % 16 == 1 then last = at end
    at = find(list, id, at + 1, true)
  end
  return last
end
