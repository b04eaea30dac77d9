-- Slots, and who waits for them.

local function owed(n) return max(n, 1) * 1000 end

-- offer tells those whose turn it is, but for self, that they may have slots.
local function offer(x, all, key, self)
  local free, credit, told = all, x.credit or 0, nil
  for i = 1, #x.leases do free = free - x.leases[i].slots end
  for i = 1, #x.waiters do
    local w = x.waiters[i]
    if w.told ~= 0 then
      if w.told <= now then free = free - min(w.slots, all) end
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
