-- info is what the server tells of itself: nothing where it does not let us know.
local told = {}
for _, section in ipairs({'server', 'memory', 'persistence'}) do
  local text = redis.pcall('INFO', section)
  if type(text) == 'string' then told[#told + 1] = text end
end
return table.concat(told, '\r\n')
