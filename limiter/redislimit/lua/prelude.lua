-- What all scripts share: each of them is this text and its own.
--
-- Times are whole microseconds of the server's clock since 1970. All numbers are doubles,
-- which hold them exactly. What is right here is what package storetest's Memory does.
--
-- KEYS[1] is the epoch of the other keys, which are values: since when the server knows
-- anything of them. A value is, as struct.pack writes it:
--
--   B format, B limits, B recent, B void, d seen, d version, d idle, d since, d restore
--   limits times  d main
--   limits times  I6 tag, B kind, d most, d time
--   limits times  I2 size
--   limits times  size bytes
--   recent times  c8 id, d at            grants that a repeated take is answered from
--   void times    c8 id, d until         takes that take nothing; until < 0: not ended yet
--
-- The value says nothing any more at the time idle, and is dropped then. tag is a digest
-- of a limit's name, and all ids are digests. main is tat of a bucket, at of a log. time and
-- most are the limit's numbers when it was last used. kind is 0 gate, 1 bucket, 2 log,
-- 3 fixed or 4 slots, and more by the bits that are set:
--
--   8   d hold, allowed, lapse, refusals, refusedAt, cut, cutAt, cutNext, lifted,
--       I2 probes, I2 size of the cause, probes times c8 id, d until, and the cause
--   16  d granted, left, reset, first, slop, since, last, heard, count, quota, guessed
--   32  d credit, wanted
--   64  I2 claims of a bucket, claims times c8 member, B priority (2 more = spare), d units, d until
--   128 d reserved, of a bucket
--
-- Then come of a log d at, d units each; of slots I2 leases, leases times c8 id,
-- c8 member, I4 slots, d at, d until, and c8 member, B priority, I4 slots, d until, d told
-- of each that waits.
--
-- A server's time goes into the strings and tables that a script makes. So each script is made of no
-- more of these files than it needs, and what limits have beside the fixed numbers is taken
-- apart only where it is looked at.
local call, unpack, pack = redis.call, struct.unpack, struct.pack
local byte, sub, find, format = string.byte, string.sub, string.find, string.format
local ceil, max = math.ceil, math.max

local FORMAT = 1
local RECENT, RECENT_MOST, RECENT_PX = 2e6, 32, '2000'

local clock = call('TIME')
local set = ARGV[3] and tonumber(ARGV[3]) -- a test's clock, by which no keys expire
local now = set or clock[1] * 1e6 + clock[2]
local unexpired = set and 3600000 or 0
