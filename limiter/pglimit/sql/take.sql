-- take decides over a call of one key, as decide does. About most keys nothing is known but levels
-- and leases: over these it decides here, in few steps. A transaction prepares each expression of a
-- function anew, for about a microsecond, which is longer than it then takes to evaluate it. So what
-- counts is how many expressions a decision meets, and rare cases have theirs in branches.
create function {schema}.take(p_at bigint, p_key uuid, p bigint[], out r bigint[], out cause bytea) language plpgsql as $$
#variable_conflict use_variable
declare
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	lim bigint[]; lists bigint[];
	now bigint; at bigint; worst int := 0; buckets int := 0;
	b int := 1 - {limSize}; step bigint; free bigint; slotted int := 0; slotcost bigint; fresh boolean := false; added boolean := false;
begin
	<<general>>
	begin
		loop
			select k.version, k.seen, k.since, k.restore, k.epoch, k.expires, k.lim, k.lists
				into xversion, xseen, xsince, xrestore, xepoch, expires, lim, lists
				from {schema}.keys k
				where k.key = p_key and k.version >= p[9] and not p[1] = any (k.ids) and not p[1] = any (k.void)
				for no key update;
			exit when found;
			-- A key that is new becomes one that is as good as new.
			exit general when added or p[9] > 0;
			lim := '{}';
			for q in 9..cardinality(p)-8 by 8 loop
				exit general when p[q+3] = {log} or p[q+3] = {fixed};
				lim := lim || array[p[q+2], p[q+3], p[q+5], p[q+4]{zeros}];
			end loop;
			insert into {schema}.keys (key, epoch, lim)
				select p_key, e.since, lim from {schema}.epochs e where e.place = p[8] on conflict do nothing;
			added := true;
		end loop;
		now := greatest(xseen, case when p_at <> 0 then p_at else {clock} end);
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
			fresh := true;
		end if;
		at := now;
		for q in 9..cardinality(p)-8 by 8 loop
			-- Most calls use the limits in their order.
			b := case when lim[b+{limSize}] = p[q+2] then b + {limSize} else array_position(lim, p[q+2]) end;
			exit general when (b % {limSize} = 1 and lim[b+{kind}] = p[q+3] and lim[b+{time}] = p[q+5] and lim[b+{most}] = p[q+4]
				and lim[b+{later}] = 0 and p[q+8] = 0 and p[q+6] <= p[q+4]
				and case p[q+3] when {bucket} then p[3] <> {backfill} when {slots} then slotted = 0 else p[q+3] = {gate} end) is not true;
			if p[q+6] = 0 or p[q+3] = {gate} then
				null;
			elsif p[q+3] = {bucket} then
				step := ceil(p[q+6]::float8 * p[q+5]::float8 / p[q+4]::float8)::bigint;
				lim[b+{tat}] := greatest(lim[b+{tat}], now) + step;
				expires := greatest(expires, lim[b+{tat}]);
				if lim[b+{tat}] - greatest(p[q+5], step) > at then
					at := lim[b+{tat}] - greatest(p[q+5], step);
					worst := (q - 9) / 8;
				end if;
			else
				exit general when greatest(xrestore, xepoch + p[6] / {restorePart}) > now;
				slotted := b;
				free := p[q+4];
				slotcost := p[q+6];
			end if;
		end loop;
		if lists <> '{}' then
			for m in 0..cardinality(lists)-1 by {listSize} loop
				exit general when lists[m+2] <> {lease} or lists[m+6] <= now or lists[m+3] = p[1];
				if (lists[m+1] - 1) * {limSize} + 1 = slotted then
					free := free - lists[m+4];
				end if;
			end loop;
		end if;
		if at > now then
			exit general when slotted <> 0;
			if at - now > greatest(p[5], 0) then
				r := array[0, at - now, worst, 0, 0, now, 0, 0, xversion];
				return;
			end if;
			for q in 9..cardinality(p)-8 by 8 loop
				if p[q+3] = {bucket} and p[q+6] > 0 then
					buckets := buckets + 1;
					b := 1;
					while lim[b] <> p[q+2] loop
						b := b + {limSize};
					end loop;
				end if;
			end loop;
			exit general when buckets > 1; -- they all count from then
			lim[b+{reserved}] := greatest(lim[b+{reserved}], at) + step;
		end if;
		if slotted <> 0 then
			exit general when slotcost > free or cardinality(lists) >= {listSize} * {leaseMost};
			lists := lists || array[(slotted - 1) / {limSize} + 1, {lease}, p[1], slotcost, now, now + p[6], 0];
			expires := greatest(expires, now + p[6]);
		end if;
		update {schema}.keys u set version = xversion + 1, seen = now, since = xsince, restore = xrestore, expires = greatest(expires, at + {recentFor}),
			lim = lim, lists = lists,
			void = case when fresh then '{}' else u.void end, causes = case when fresh then '{}' else u.causes end,
			ids = case when fresh then array[p[1], at]
				when cardinality(u.ids) >= 2 * {recentMost} then {schema}.remember(u.ids, now, p[1], at)
				when u.ids[4] + {recentFor} <= now and u.ids[2] + {recentFor} <= now then u.ids[5:] || array[p[1], at]
				when u.ids[2] + {recentFor} <= now then u.ids[3:] || array[p[1], at]
				else u.ids || array[p[1], at] end
			where key = p_key;
		r := array[1, at - now, 0, 0, (slotted = 0)::int, now, 0, 0, xversion + 1];
		return;
	end general;
	select d.r, d.cause into r, cause from {schema}.decide(p_at, array[p_key], p) d;
end
$$;
