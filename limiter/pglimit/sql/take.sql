-- take decides over a call, as decide does. Most calls are of one key, about which nothing is known
-- but levels and leases: over these it decides here, in few steps, because each step costs more
-- than what it works out.
create function {schema}.take(p_at bigint, p_keys uuid[], p bigint[], out r bigint[], out cause bytea) language plpgsql as $$
#variable_conflict use_variable
declare
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	lim bigint[]; lists bigint[]; ids bigint[]; void bigint[];
	now bigint; at bigint; wait bigint := 0; worst int := 0; buckets int := 0;
	b int; n bigint; free bigint; slotted int := 0; size int; size_ bigint; fresh boolean := false;
begin
	<<general>>
	begin
		exit general when cardinality(p_keys) <> 1;
		for attempt in 1..2 loop
			select k.version, k.seen, k.since, k.restore, k.epoch, k.lim, k.lists, k.ids, k.void, k.expires
				into xversion, xseen, xsince, xrestore, xepoch, lim, lists, ids, void, expires
				from {schema}.keys k
				where k.key = p_keys[1] and k.version >= p[9] and not p[1] = any (k.ids) and not p[1] = any (k.void)
				for no key update;
			exit when found;
			-- A key that is new becomes one that is as good as new.
			exit general when attempt > 1 or p[9] > 0;
			lim := '{}';
			for q in 9..cardinality(p)-8 by 8 loop
				exit general when p[q+3] = {log} or p[q+3] = {fixed};
				lim := lim || array[p[q+2], p[q+3], p[q+5], p[q+4]{zeros}];
			end loop;
			insert into {schema}.keys (key, epoch, lim)
				select p_keys[1], e.since, lim from {schema}.epochs e where e.place = p[8] on conflict do nothing;
		end loop;
		now := greatest(xseen, case when p_at <> 0 then p_at else {clock} end);
		size := cardinality(ids);
		if now >= expires then -- it is as good as new
			exit general when xepoch = 0 or p[9] > 0;
			for b in 1..cardinality(lim) by {limSize} loop
				exit general when lim[b+{later}] <> 0 or lim[b+{heard}] <> 0 or xepoch + lim[b+{time}] > now
					or lim[b+{kind}] = {log} or lim[b+{kind}] = {fixed};
				lim[b+{left}] := 0;
				lim[b+{granted}] := 0;
			end loop;
			xversion := 0;
			xsince := xepoch;
			xrestore := 0;
			lists := '{}';
			ids := '{}';
			void := '{}';
			size := 0;
			fresh := true;
		end if;
		exit general when size >= 2 * {recentMost};
		at := now;
		for q in 9..cardinality(p)-8 by 8 loop
			b := 1;
			while lim[b] <> p[q+2] loop
				b := b + {limSize};
			end loop;
			-- Also where b is beyond the end.
			exit general when (lim[b+{kind}] = p[q+3] and lim[b+{time}] = p[q+5] and lim[b+{most}] = p[q+4] and lim[b+{later}] = 0
				and p[q+8] = 0 and p[q+6] <= p[q+4]) is not true;
			if p[q+3] = {bucket} then
				exit general when p[3] = {backfill};
				if p[q+6] > 0 then
					n := ceil(p[q+6]::float8 * p[q+5]::float8 / p[q+4]::float8)::bigint;
					free := greatest(lim[b+{tat}], now) + n;
					lim[b+{tat}] := free;
					buckets := buckets + 1;
					if free - greatest(p[q+5], n) > at then
						at := free - greatest(p[q+5], n);
						worst := (q - 9) / 8;
					end if;
				end if;
			elsif p[q+3] = {slots} then
				exit general when slotted <> 0;
				if p[q+6] > 0 then
					slotted := b;
					wait := p[q+4];
					size_ := p[q+6];
				end if;
			else
				exit general when p[q+3] <> {gate};
			end if;
		end loop;
		exit general when slotted <> 0 and greatest(xrestore, xepoch + p[6] / {restorePart}) > now;
		expires := greatest(xrestore, at + {recentFor});
		free := wait;
		for m in 0..cardinality(lists)-1 by {listSize} loop
			exit general when lists[m+2] <> {lease} or lists[m+6] <= now or lists[m+3] = p[1];
			expires := greatest(expires, lists[m+6]);
			if (lists[m+1] - 1) * {limSize} + 1 = slotted then
				free := free - lists[m+4];
			end if;
		end loop;
		exit general when at > now and slotted <> 0;
		if at - now > greatest(p[5], 0) then
			r := array[0, at - now, worst, 0, 0, now, 0, 0, xversion];
			return;
		end if;
		exit general when at > now and buckets > 1; -- they all count from then
		if slotted <> 0 then
			exit general when size_ > free or cardinality(lists) >= {listSize} * {leaseMost};
			lists := lists || array[(slotted - 1) / {limSize} + 1, {lease}, p[1], size_, now, now + p[6], 0];
			expires := greatest(expires, now + p[6]);
		end if;
		for b in 1..cardinality(lim) by {limSize} loop
			expires := greatest(expires, xsince + lim[b+{time}], lim[b+{later}], case when lim[b+{kind}] = {bucket} then lim[b+{tat}] else 0 end);
		end loop;
		for m in 2..cardinality(void) by 3 loop
			expires := greatest(expires, void[m]);
		end loop;
		for m in 2..size by 2 loop
			expires := greatest(expires, ids[m] + {recentFor});
		end loop;
		update {schema}.keys u set version = xversion + 1, seen = now, since = xsince, restore = xrestore, expires = expires, lim = lim, lists = lists,
			void = void, causes = case when fresh then '{}' else u.causes end,
			ids = case when size >= 4 and ids[2] + {recentFor} <= now and ids[4] + {recentFor} <= now then ids[5:]
				when size >= 2 and ids[2] + {recentFor} <= now then ids[3:] else ids end || array[p[1], at]
			where key = p_keys[1];
		r := array[1, at - now, 0, 0, (slotted = 0)::int, now, 0, 0, xversion + 1];
		return;
	end general;
	select d.r, d.cause into r, cause from {schema}.decide(p_at, p_keys, p) d;
end
$$;
