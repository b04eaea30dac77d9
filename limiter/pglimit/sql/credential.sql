-- Who refreshes which credential. This table is logged, since what it says of a refresh token
-- that may be spent must outlive a crash.
create table {schema}.credentials (
	key        uuid primary key,
	generation bigint not null default 0,
	fence      bigint not null default 0,
	owner      uuid,
	until      bigint not null default 0,
	spent      boolean not null default false,
	reusable   boolean not null default false,
	unknown    bigint not null default 0,
	retry      bigint not null default 0,
	ends_as    text not null default '',
	seen       bigint not null default 0
) with (fillfactor = 50);

-- credential takes one step of a refresh. p is: step, lease, known generation, fence, spent,
-- reusable, retry. r is: phase, generation, fence, wait, since. What is right here is what package
-- storetest's Credentials does.
create function {schema}.credential(p_at bigint, p_key uuid, p_member uuid, p bigint[], p_as text, out r bigint[], out ends_as text) language plpgsql as $$
#variable_conflict use_variable
declare
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	step bigint := p[1]; lease bigint := p[2]; known bigint := p[3]; p_fence bigint := p[4];
	c {schema}.credentials;
	ms bigint; mine boolean; latest boolean; renews boolean := false;
begin
	insert into {schema}.credentials (key) values (p_key) on conflict do nothing;
	select * into c from {schema}.credentials k where k.key = p_key for update;
	if p_at = 0 then
		now := {clock}; -- the row may have been locked for a while
	end if;
	now := greatest(now, c.seen);
	ms := now / 1000;
	if c.seen = 0 and step <> {credentialBegin} then -- put back what the owner says
		c.owner := p_member;
		c.until := now + lease;
	end if;
	c.seen := now;
	c.generation := greatest(c.generation, known);
	c.fence := greatest(c.fence, p_fence);
	if c.owner is not null and now >= c.until then -- the lease has run out
		c.owner := null;
		if c.spent and not c.reusable then
			c.unknown := c.until;
		else
			c.spent := false;
		end if;
	end if;
	mine := c.owner is not distinct from p_member and c.fence = p_fence;
	-- latest: the lease may have run out, but nobody else has had one since.
	latest := mine or c.owner is null and c.fence = p_fence and c.generation = known;
	case step
	when {credentialBegin} then
		if c.generation > known or c.unknown <> 0 or c.retry > now then
			null; -- no lease is given
		elsif c.owner is null or c.owner = p_member and not c.spent then
			-- Where the process has the lease already, an answer was lost, or what it has told of the end of
			-- an earlier refresh. That must not end this one when it arrives after all, so the number is new.
			c.fence := greatest(c.fence + 1, ms);
			c.owner := p_member;
			c.until := now + lease;
			c.spent := false;
			c.reusable := false;
		end if;
	when {credentialExtend} then
		if latest then
			c.owner := p_member;
			c.until := now + lease;
			c.unknown := 0;
			if p[5] <> 0 then -- else it may have been sent before Spend, and arrived after it
				c.spent := true;
				c.reusable := p[6] <> 0;
			end if;
		end if;
	when {credentialSpend} then
		if mine then
			c.until := now + lease;
			c.spent := true;
			c.reusable := p[6] <> 0;
		end if;
	when {credentialSaved}, {credentialFound} then
		renews := c.fence = p_fence and c.generation = known;
	when {credentialFailed} then
		if latest then
			c.owner := null;
			c.unknown := 0;
			c.spent := false;
			c.retry := now + p[7];
			c.ends_as := p_as;
			c.fence := c.fence + 1; -- so that an Extend that arrives later does not bring the lease back
		end if;
	when {credentialLost} then
		if mine then
			c.owner := null;
			c.unknown := now;
			c.spent := true; -- also for an Extend that was sent before Spend, and arrives now
			c.reusable := false;
		end if;
	else
		-- Else a lease has begun since, or has spent its token since: it may be the new credential's.
		renews := c.fence = p_fence and (p[5] <> 0 or not c.spent);
		if renews then
			c.fence := c.fence + 1; -- so that a lease from before has ended
		end if;
	end case;
	if renews then
		c.generation := greatest(c.generation + 1, ms);
		c.owner := null;
		c.until := 0;
		c.spent := false;
		c.reusable := false;
		c.unknown := 0;
		c.retry := 0;
		c.ends_as := '';
	end if;
	update {schema}.credentials k set generation = c.generation, fence = c.fence, owner = c.owner, until = c.until, spent = c.spent,
		reusable = c.reusable, unknown = c.unknown, retry = c.retry, ends_as = c.ends_as, seen = c.seen where k.key = p_key;
	ends_as := '';
	if c.generation > known then
		r := array[{credentialNewer}, c.generation, c.fence, 0, 0];
	elsif c.unknown <> 0 then
		r := array[{credentialUnknown}, c.generation, c.fence, 0, now - c.unknown];
	elsif c.owner = p_member and (c.fence = p_fence or step = {credentialBegin} and not c.spent) then
		r := array[{credentialYours}, c.generation, c.fence, 0, 0];
	elsif c.owner is not null then
		r := array[{credentialBusy}, c.generation, c.fence, c.until - now, 0];
	elsif c.retry > now then
		r := array[{credentialBackoff}, c.generation, c.fence, c.retry - now, 0];
		ends_as := c.ends_as;
	else
		r := array[{credentialIdle}, c.generation, c.fence, 0, 0];
	end if;
end
$$;
