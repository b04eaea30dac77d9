-- What replies have told of a limit.

-- believe reports whether a reply is newer than what is known: a reset that is later, or fewer
-- units until the same.
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
