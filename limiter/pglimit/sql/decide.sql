-- decide decides over a call. p is: id, member, priority, share, max wait, lease; then, of each
-- part, the order in which to lock, place, version; then, of each use, part, name, kind, units,
-- time, cost, headroom, learn. r is: granted, wait, use, held, no end, now, forgot, when the
-- cause was; then the versions; then the counts, if there are any.
create function {schema}.decide(p_at bigint, p_keys uuid[], p bigint[], out r bigint[], out cause bytea) language plpgsql as $$
#variable_conflict use_variable
declare
	parts int := cardinality(p_keys);
	uses int := (cardinality(p) - 6 - 3 * cardinality(p_keys)) / 8;
	first int := 6 + 3 * cardinality(p_keys); -- where the uses begin
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	lease_ bigint := p[6];
	place bigint;
	part int;
	thekey uuid;

	-- a value
	lim bigint[]; lists bigint[]; ids bigint[]; void bigint[];
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	fresh boolean;
	-- the parts'
	owner int[]; lims bigint[]; alllists bigint[]; allids bigint[]; allvoid bigint[];
	versions bigint[]; sinces bigint[]; restores bigint[]; epochs bigint[]; ends bigint[]; news boolean[]; dirties boolean[];
	renumbered int[];

	dirty boolean := false;
	forgot bigint := 0;
	answered boolean := false;
	grant_ boolean := false;
	wait bigint := 0;
	use_ int := 0; held boolean := false; worst boolean := false; causeat bigint := 0; causeof int := 0;
	reserve boolean := p[5] > 0; anyheld boolean := false;
	at bigint; ready bigint; fits boolean; owed boolean;
	lead bigint := p[5]; spare boolean := false; -- how far ahead it may reserve; backfill that is owed nothing
	refused int[] := '{}'; voidin int := 0;
	blocks int[] := '{}';
	noend boolean; learns boolean := false; slotuses int := 0; waiting boolean; wanting boolean := true; ahead bigint; ownuntil bigint;
	q int; blk int; b int;
	name bigint; kind bigint; units bigint; span bigint; cost bigint; head bigint;
	usedup bigint; n bigint; m bigint; k bigint; x float8; step bigint; room bigint; quota bigint;
	free bigint; whole bigint; credit bigint; pick bigint; back bigint; self bigint;
begin
	for j in 0..parts-1 loop
		part := p[7+3*j];
		thekey := p_keys[part];
		place := p[8+3*(part-1)];
{load}
		-- a process has seen a newer version
		dirties[part] := false;
		if p[9+3*(part-1)] > xversion then
			xversion := p[9+3*(part-1)];
			xsince := now;
			xrestore := greatest(xrestore, now + lease_ / {restorePart});
			for o in 0..cardinality(lim)/{limSize}-1 loop
				if lim[o*{limSize}+1+{kind}] = {bucket} then
					lim[o*{limSize}+1+{tat}] := greatest(lim[o*{limSize}+1+{tat}], now + lim[o*{limSize}+1+{time}]);
				end if;
				lim[o*{limSize}+1+{granted}] := 0;
				lim[o*{limSize}+1+{count}] := 0;
			end loop;
			forgot := 1;
			dirties[part] := true;
		end if;
		expires := greatest(xrestore, 0);
		for o in 1..cardinality(ids)/2 loop
			expires := greatest(expires, ids[o*2] + {recentFor});
			if ids[o*2-1] = p[1] and now < ids[o*2] + {recentFor} then -- asked again
				answered := true;
				if not grant_ then
					wait := ids[o*2];
				end if;
				grant_ := true;
			end if;
		end loop;
		for o in 1..cardinality(void)/3 loop
			expires := greatest(expires, void[o*3-1]);
			if void[o*3-2] = p[1] and now < void[o*3-1] then
				answered := true;
				if voidin = 0 or part < voidin then -- what the call's first key knows counts
					held := void[o*3] <> 0; -- it has ended
					voidin := part;
				end if;
				worst := true; -- it is void
			end if;
		end loop;
		versions[part] := xversion;
		sinces[part] := xsince;
		restores[part] := xrestore;
		epochs[part] := xepoch;
		ends[part] := expires;
		news[part] := fresh;
		if parts > 1 then
			k := coalesce(cardinality(lims), 0) / {limSize};
			for o in 0..cardinality(lists)/{listSize}-1 loop
				lists[o*{listSize}+1] := lists[o*{listSize}+1] + k;
			end loop;
			for o in 1..cardinality(lim)/{limSize} loop
				owner := owner || part;
			end loop;
			lims := coalesce(lims, '{}') || lim;
			alllists := coalesce(alllists, '{}') || lists;
		end if;
	end loop;
	if parts > 1 then
		lim := lims;
		lists := alllists;
		owner := coalesce(owner, '{}');
	elsif parts = 0 then
		lim := '{}';
		lists := '{}';
	end if;
	if not answered then
		for o in 0..cardinality(lists)/{listSize}-1 loop
			m := o * {listSize};
			if lists[m+2] = {lease} and lists[m+3] = p[1] and lists[m+6] > now then
				answered := true;
				grant_ := true;
				wait := lists[m+5];
				exit;
			end if;
		end loop;
	end if;

	<<decide>>
	begin
		if answered then
			if worst then
				grant_ := not held;
				wait := 0;
				held := false;
			else
				wait := greatest(0, wait - now);
			end if;
			exit decide;
		end if;
{prune}
		-- All but the free slots, which nobody may claim who could not go on.
		at := now;
		for u in 1..uses loop
			q := first + 8 * (u - 1);
			part := p[q+1]; name := p[q+2]; kind := p[q+3]; units := p[q+4]; span := p[q+5]; cost := p[q+6]; head := p[q+7];
{find}
			blocks[u] := blk;
			owed := p[3] <> {backfill} or lim[b+{credit}] >= greatest(cost, 1) * 1000;
			ready := now;
			fits := true;
			if lim[b+{hold}] <> 0 then
				reserve := false; wanting := false;
				if not held or lim[b+{hold}] - now > wait then
					wait := lim[b+{hold}] - now;
					use_ := u - 1; held := true; worst := true; causeof := blk; causeat := lim[b+{causeAt}];
				end if;
				continue;
			elsif lim[b+{allowed}] > 0 then
				n := 0;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					if lists[o*{listSize}+1] = blk and lists[o*{listSize}+2] = {probe} then
						n := n + 1;
					end if;
				end loop;
				if n >= lim[b+{allowed}] then
					reserve := false; wanting := false;
					if not worst then
						wait := 0;
						use_ := u - 1; worst := true; causeof := blk; causeat := lim[b+{causeAt}];
					end if;
					continue;
				end if;
			end if;
			if kind = {slots} and cost > 0 then
				reserve := false;
				slotuses := slotuses + 1;
				n := greatest(restores[part], epochs[part] + lease_ / {restorePart}) - now;
				if n <= 0 and units = 0 then
					n := {second};
				end if;
				wanting := wanting and n <= 0;
				if n > 0 and (not worst or not held and n > wait) then
					wait := n;
					use_ := u - 1; worst := true; causeof := 0; causeat := 0;
				end if;
				continue;
			elsif kind = {bucket} then
				if cost > units then
					ready := now + span;
					fits := false;
				elsif cost > 0 then
					x := cost::float8 * span::float8 / units::float8;
					if lim[b+{cut}] > 0 then
						x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
					end if;
					step := least(ceil(x), {longestStep})::bigint;
					-- What others have claimed before. Once its time has come there are units for
					-- all whose time has come, so those who are late do not hold it up.
					ahead := 0;
					ownuntil := null;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						m := o * {listSize};
						if lists[m+1] = blk and lists[m+2] = {claim} and lists[m+3] = p[2] and lists[m+4] = p[3] then
							ownuntil := lists[m+6];
						end if;
					end loop;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						m := o * {listSize};
						if lists[m+1] = blk and lists[m+2] = {claim} then
							exit when lists[m+3] = p[2] and lists[m+4] = p[3];
							if (not owed or lists[m+7] = 0) and (ownuntil is null or ownuntil > now + {keptFor} or lists[m+6] > now + {keptFor}) then
								x := lists[m+5]::float8 * span::float8 / units::float8;
								if lim[b+{cut}] > 0 then
									x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
								end if;
								ahead := ahead + least(ceil(x), {longestStep})::bigint;
							end if;
						end if;
					end loop;
					room := span;
					if not owed then
						x := head::float8 * span::float8 / units::float8;
						if lim[b+{cut}] > 0 then
							x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
						end if;
						n := least(ceil(x), {longestStep})::bigint;
						room := room - n;
						-- Half of the headroom must be left, and a part of that if the caller does not wait for a second.
						lead := least(lead, least(n / 2, {second}) * least(p[5], {second}) / {second});
					end if;
					ready := greatest(now, greatest(lim[b+{tat}], now) + ahead + step - greatest(room, step));
				end if;
			elsif kind = {log} or kind = {fixed} then
				quota := units;
				if lim[b+{quota}] <> 0 then
					quota := least(quota, lim[b+{quota}]);
				end if;
				if lim[b+{cut}] > 0 then
					quota := greatest(1, floor(quota::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
				end if;
				quota := greatest(quota, least(cost, units));
				if cost > units or kind = {fixed} and lim[b+{reset}] = 0 and cost > quota then
					ready := now + span;
					fits := false;
				elsif kind = {log} and cost > 0 then
					ready := greatest(now, lim[b+{tat}]);
					n := 0;
					k := 0;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						m := o * {listSize};
						if lists[m+1] = blk and lists[m+2] = {logEntry} then
							n := n + lists[m+4];
							k := k + 1;
						end if;
					end loop;
					fits := k < {logMost};
					if n + cost > quota then
						for o in 0..cardinality(lists)/{listSize}-1 loop
							m := o * {listSize};
							if lists[m+1] = blk and lists[m+2] = {logEntry} then
								if lists[m+3] + span < ready then
									n := n - lists[m+4];
								else
									exit when n + cost <= quota;
									n := n - lists[m+4];
									ready := greatest(ready, lists[m+3] + span + 1);
								end if;
							end if;
						end loop;
					end if;
				end if;
			end if;
			if kind <> {gate} and kind <> {slots} and cost <= units and lim[b+{reset}] <> 0 and cost > greatest(lim[b+{left}], 0) then
				ready := greatest(ready, lim[b+{reset}]);
				fits := false;
			end if;
			spare := spare or not owed and cost > 0 and kind <> {gate};
			continue when ready <= now and fits;
			fits := fits and (lim[b+{reset}] = 0 or ready < lim[b+{reset}]);
			at := greatest(at, ready);
			reserve := reserve and fits and (owed or kind = {bucket});
			wanting := wanting and fits and (owed or kind = {bucket});
			refused := refused || blk;
			if not worst or not held and ready - now > wait then
				wait := ready - now;
				use_ := u - 1; worst := true; causeof := 0; causeat := 0;
			end if;
		end loop;
		if worst and reserve then
			reserve := at - now <= lead;
			for u in 1..uses loop
				n := lim[(blocks[u]-1)*{limSize}+1+{reset}];
				if n <> 0 and at >= n then
					reserve := false; -- the window is another one then
				end if;
			end loop;
		end if;
		if worst and not reserve then
			if p[3] = {backfill} then
				for u in 1..cardinality(refused) loop
					lim[(refused[u]-1)*{limSize}+1+{wanted}] := now;
					dirty := true;
				end loop;
			end if;
			if (slotuses > 0 or spare and p[5] > 0) and wanting then -- it claims the units that it lacks
				dirty := true;
				-- A little late, so that it does not come in vain. Meanwhile interactive calls take units.
				n := {claimLate};
				if slotuses > 0 and spare then
					n := n + least(at - now, {second});
				end if;
				at := at + n;
				wait := wait + n;
				for u in 1..uses loop -- slots are kept for it from then on
					blk := blocks[u];
					q := first + 8 * (u - 1);
					cost := p[q+6];
					if p[q+3] = {bucket} and blk = any (refused) then
						n := {claim};
					elsif p[q+3] = {slots} and cost > 0 then
						n := {waiter};
						b := (blk - 1) * {limSize} + 1;
						if lim[b+{cut}] > 0 then
							cost := least(cost, greatest(1, floor(p[q+4]::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint));
						end if;
						cost := least(cost, p[q+4]);
					else
						continue;
					end if;
					k := 0; -- those that have claimed units, or wait for slots in its priority
					self := null;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						m := o * {listSize};
						if lists[m+1] = blk and lists[m+2] = n and (n = {claim} or lists[m+4] = p[3]) then
							k := k + 1;
							if lists[m+3] = p[2] and lists[m+4] = p[3] then
								self := m;
							end if;
						end if;
					end loop;
					if spare and n = {waiter} then -- it keeps no slots from others
						if self is not null then
							lists := lists[1:self] || lists[self+{listSize}+1:];
						end if;
						continue;
					end if;
					if self is null then
						continue when spare and k >= {waiterMost};
						pick := k - now % {lotOf}; -- which of those before it loses its place if there is none
						for o in 0..cardinality(lists)/{listSize}-1 loop
							exit when k < {waiterMost};
							m := o * {listSize};
							if lists[m+1] = blk and lists[m+2] = n and (n = {claim} or lists[m+4] = p[3]) then
								pick := pick - 1;
								if pick = 0 then
									lists := lists[1:m] || lists[m+{listSize}+1:];
									exit;
								end if;
							end if;
						end loop;
						self := cardinality(lists);
						lists := lists || array[blk, n, p[2], p[3], 0, 0, 0];
					end if;
					lists[self+5] := cost;
					lists[self+6] := at + {keptFor};
					lists[self+7] := case when n = {claim} then spare::int else at end;
				end loop;
			end if;
			exit decide;
		end if;
		if not worst then
			wait := 0;
			for u in 1..uses loop
				q := first + 8 * (u - 1);
				cost := p[q+6];
				continue when p[q+3] <> {slots} or cost = 0;
				part := p[q+1];
				blk := blocks[u];
				b := (blk - 1) * {limSize} + 1;
				whole := p[q+4];
				if lim[b+{cut}] > 0 then
					whole := greatest(1, floor(whole::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
				end if;
				n := 0; -- leases
				k := 0; -- waiters of the priority
				waiting := false; -- there are any
				free := whole;
				self := null;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk then
						if lists[m+2] = {lease} then
							n := n + 1;
							free := free - lists[m+4];
						elsif lists[m+2] = {waiter} then
							waiting := true;
							k := k + (lists[m+4] = p[3])::int;
							if lists[m+3] = p[2] and lists[m+4] = p[3] then
								self := m;
							end if;
						end if;
					end if;
				end loop;
				cost := least(cost, whole);
				fits := n < {leaseMost};
				if fits then
					if not waiting and cost <= free and slotuses = 1 then
						null; -- nobody waits
					else
						dirty := true;
						if self is null then
							pick := k - now % {lotOf}; -- as above
							for o in 0..cardinality(lists)/{listSize}-1 loop
								exit when k < {waiterMost};
								m := o * {listSize};
								if lists[m+1] = blk and lists[m+2] = {waiter} and lists[m+4] = p[3] then
									pick := pick - 1;
									if pick = 0 then
										lists := lists[1:m] || lists[m+{listSize}+1:];
										exit;
									end if;
								end if;
							end loop;
							self := cardinality(lists);
							lists := lists || array[blk, {waiter}, p[2], p[3], 0, 0, 0];
						end if;
						lists[self+6] := now + {waiterFor};
						if lists[self+7] > now or lists[self+7] <> 0 and (cost > lists[self+5] or cost > free) then
							lists[self+7] := 0;
						end if;
						lists[self+5] := cost;
						thekey := p_keys[part];
{offer}
						fits := lists[self+7] <> 0;
					end if;
				end if;
				if not fits then
					use_ := u - 1; worst := true; causeof := 0;
					if p[3] = {backfill} then
						lim[b+{wanted}] := now;
					end if;
					dirty := true;
					exit decide;
				end if;
			end loop;
		end if;

		-- Granted.
		grant_ := true;
		dirty := true;
		wait := at - now;
		noend := true;
		for u in 1..uses loop
			q := first + 8 * (u - 1);
			kind := p[q+3]; units := p[q+4]; span := p[q+5]; cost := p[q+6];
			blk := blocks[u];
			b := (blk - 1) * {limSize} + 1;
			if kind = {slots} and cost > 0 then
				whole := units;
				if lim[b+{cut}] > 0 then
					whole := greatest(1, floor(whole::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
				end if;
				cost := least(cost, whole);
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {waiter} and lists[m+3] = p[2] and lists[m+4] = p[3] then
						lists := lists[1:m] || lists[m+{listSize}+1:];
						exit;
					end if;
				end loop;
				lists := lists || array[blk, {lease}, p[1], cost, now, now + lease_, 0];
				noend := false;
			elsif kind = {bucket} then
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {claim} and lists[m+3] = p[2] and lists[m+4] = p[3] then
						lists := lists[1:m] || lists[m+{listSize}+1:];
						exit;
					end if;
				end loop;
			end if;
			if kind = {bucket} and cost > 0 then
				x := cost::float8 * span::float8 / units::float8;
				if lim[b+{cut}] > 0 then
					x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
				end if;
				step := least(ceil(x), {longestStep})::bigint;
				lim[b+{tat}] := greatest(lim[b+{tat}], at) + step;
				if at > now then
					lim[b+{reserved}] := greatest(lim[b+{reserved}], at) + step;
				end if;
			elsif kind = {log} and cost > 0 then
{addtolog}
			elsif kind = {fixed} and cost > 0 and lim[b+{reset}] = 0 then
				quota := units;
				if lim[b+{quota}] <> 0 then
					quota := least(quota, lim[b+{quota}]);
				end if;
				if lim[b+{cut}] > 0 then
					quota := greatest(1, floor(quota::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
				end if;
				lim[b+{left}] := greatest(quota, least(cost, units));
				lim[b+{lsince}] := at;
				lim[b+{reset}] := at + span;
				lim[b+{guessed}] := 1;
			end if;
			if kind <> {gate} then
				if kind <> {slots} and cost > 0 then
					lim[b+{left}] := lim[b+{left}] - cost;
					lim[b+{granted}] := least(lim[b+{granted}] + cost, {maxUnits});
				end if;
				if p[3] = {backfill} then
					if lim[b+{credit}] > 0 then
						lim[b+{credit}] := greatest(0, lim[b+{credit}] - greatest(cost, 1) * 1000);
					end if;
				elsif lim[b+{wanted}] <> 0 and now < lim[b+{wanted}] + {wantedFor} then
					n := floor((greatest(cost, 1) * 1000)::float8 * p[4]::float8 / ({whole} - p[4])::float8)::bigint;
					lim[b+{credit}] := least(lim[b+{credit}] + n, greatest(least(units, {creditMost}), 1) * 1000);
				end if;
			end if;
			if lim[b+{allowed}] > 0 then
				lists := lists || array[blk, {probe}, p[1], now + greatest(lease_, {probeLapse}), 0, 0, 0];
				noend := false;
			end if;
			if lim[b+{refusals}] > 0 then
				noend := false;
			end if;
			learns := learns or p[q+8] <> 0;
		end loop;
	end decide;

	-- The rows are written, and the answer is made.
	if causeof > 0 and not grant_ then
		k := causeof;
		part := 1;
		if parts > 1 then
			part := owner[causeof];
			k := 0;
			for o in 1..causeof loop
				if owner[o] = part then
					k := k + 1;
				end if;
			end loop;
		end if;
		if not news[part] then
			select c.causes[k] into cause from {schema}.keys c where c.key = p_keys[part];
		end if;
	end if;
	if grant_ and not answered then
		r := array[1, wait, 0, 0, noend::int, now, forgot, 0];
	elsif grant_ then
		r := array[1, wait, 0, 0, 0, now, forgot, 0];
	else
		r := array[0, wait, use_, held::int, 0, now, forgot, case when cause is null then 0 else causeat end];
	end if;
	for i in 1..parts loop
		r := r || (versions[i] + (grant_ and not answered)::int);
	end loop;
	if grant_ and learns and not answered then
		for u in 1..uses loop
			r := r || lim[(blocks[u]-1)*{limSize}+1+{granted}];
		end loop;
	end if;
	lims := lim;
	alllists := lists;
	for i in 1..parts loop
		continue when not (dirty or dirties[i]);
		xsince := sinces[i];
		expires := ends[i];
		if grant_ and not answered then
			expires := greatest(expires, at + {recentFor});
		end if;
		if parts > 1 then
			lim := '{}';
			lists := '{}';
			n := 0;
			for o in 1..cardinality(owner) loop
				if owner[o] = i then
					n := n + 1;
					lim := lim || lims[(o-1)*{limSize}+1:o*{limSize}];
				end if;
				renumbered[o] := n;
			end loop;
			for o in 0..cardinality(alllists)/{listSize}-1 loop
				m := o * {listSize};
				if owner[alllists[m+1]] = i then
					lists := lists || (renumbered[alllists[m+1]]::bigint || alllists[m+2:m+{listSize}]);
				end if;
			end loop;
		end if;
{expires}
		if grant_ and not answered then
			update {schema}.keys u set version = versions[i] + 1, seen = now, since = xsince, restore = restores[i], epoch = epochs[i], expires = expires,
				lim = lim, lists = lists, ids = {schema}.remember(case when news[i] then '{}' else u.ids end, now, p[1], at),
				void = case when news[i] then '{}' else u.void end, causes = case when news[i] then '{}' else u.causes end
				where key = p_keys[i];
		else
			update {schema}.keys u set version = versions[i], since = xsince, restore = restores[i], epoch = epochs[i], expires = expires,
				lim = lim, lists = lists, ids = case when news[i] then '{}' else u.ids end,
				void = case when news[i] then '{}' else u.void end, causes = case when news[i] then '{}' else u.causes end
				where key = p_keys[i];
		end if;
	end loop;
end
$$;
