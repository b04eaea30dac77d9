-- What units take.

local function quotaFor(x, n)
  local quota = x.most
  if x.quota and x.quota ~= 0 then quota = min(quota, x.quota) end
  return max(lowered(x, quota), min(n, x.most))
end

-- take takes n units as of the time at.
local function take(x, n, at)
  local kind = x.kind
  if kind == 1 then
    if n > 0 then x.main = max(x.main, at) + stepOf(x, n) end
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
