-- renew notes that a member lives, what it holds, and what it owes. The keys are sorted, each
-- once. p is: lease, expiry, leave, apart; then, of each lease or debt, sorted by key, the leases of a key before
-- its debts: key, index, debt, place, name, kind, units, time, id, slots (or units owed), version,
-- held, refusals, when the cause was, lowered, left, reset, quota, age, learn. r is: forgot, then the indices of the leases that are lost.
create function {schema}.renew(p_at bigint, p_member uuid, p_short bigint, p_numbers bytea, p_keys uuid[], p bigint[], p_causes bytea[],
	p_limits bytea, p_secret bytea, p_fleet bytea, out r bigint[]) language plpgsql as $$
#variable_conflict use_variable
declare
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	owner int[]; part int := 1;
	thekey uuid;
	place bigint;
	lease_ bigint := p[1]; leave boolean := p[3] <> 0;
	i int := 0; q int := 4;
	lim bigint[]; lists bigint[]; ids bigint[]; void bigint[];
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	fresh boolean; dirty boolean;
	restoring boolean; lost boolean; known boolean;
	blk int; b int; forgot int := 0; alllost bigint[] := '{}';
	name bigint; kind bigint; units bigint; span bigint; id bigint; cost bigint;
	reset_ bigint; left_ bigint; slop_ bigint; believed boolean;
	usedup bigint; n bigint; m bigint; k bigint; x float8; at bigint; quota bigint;
	free bigint; whole bigint; credit bigint; pick bigint; back bigint; self bigint;
begin
	loop
		if q >= cardinality(p) or p[q+1] <> i then -- the next key
			if i > 0 then
{save}
			end if;
			exit when q >= cardinality(p);
			i := p[q+1];
			thekey := p_keys[i];
			place := p[q+4];
			now := case when p_at <> 0 then p_at else {clock} end;
{load}
{prune}
			restoring := null;
		end if;
		name := p[q+5]; kind := p[q+6]; units := p[q+7]; span := p[q+8]; id := p[q+9]; cost := p[q+10];
		known := false; -- its end has come
		for o in 1..cardinality(void)/3 loop
			if void[o*3-2] = id and void[o*3-1] > now and void[o*3] <> 0 then
				known := true;
			end if;
		end loop;
		if p[q+3] <> 0 then -- a debt
			if not known and cost > 0 then
				n := now + greatest(lease_, {minute});
				k := 1;
{voidit}
{find}
				if kind = {bucket} then
					if units > 0 then
						x := cost::float8 * span::float8 / units::float8;
						if lim[b+{cut}] > 0 then
							x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
						end if;
						lim[b+{tat}] := greatest(lim[b+{tat}], least(greatest(lim[b+{tat}], now) + least(ceil(x), {longestStep})::bigint, now + 2 * span));
					else
						lim[b+{tat}] := greatest(lim[b+{tat}], least(greatest(lim[b+{tat}], now), now + 2 * span));
					end if;
					lim[b+{left}] := lim[b+{left}] - cost;
					lim[b+{granted}] := least(lim[b+{granted}] + cost, {maxUnits});
				elsif kind = {log} or kind = {fixed} then
					cost := least(cost, units);
					at := now;
					if kind = {log} and cost > 0 then
{addtolog}
					elsif cost > 0 and lim[b+{reset}] = 0 then
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
					lim[b+{left}] := lim[b+{left}] - cost;
					lim[b+{granted}] := least(lim[b+{granted}] + cost, {maxUnits});
				end if;
				xversion := xversion + 1;
			end if;
			q := q + 20;
			continue;
		end if;

		if restoring is null or p[q+11] > xversion then
			if p[q+11] > xversion then
				xversion := p[q+11];
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
			end if;
			restoring := greatest(xrestore, xepoch + lease_ / {restorePart}) > now;
		end if;
{find}
		if restoring and not leave and (lim[b+{liftedAt}] = 0 or now - p[q+19] > lim[b+{liftedAt}]) then
			if p[q+12] > 0 and now + p[q+12] > lim[b+{hold}] then
				lim[b+{hold}] := now + p[q+12];
				lim[b+{causeAt}] := p[q+14];
				lim[b+{allowed}] := 0;
				lists := {schema}.without_probes(lists, blk);
				update {schema}.keys u set causes = (case when fresh then '{}' else u.causes end) where key = thekey;
				update {schema}.keys u set causes[blk] = p_causes[p[q+2]] where key = thekey;
				fresh := false;
			end if;
			n := p[q+13];
			if n > lim[b+{refusals}] then
				lim[b+{refusals}] := n;
				lim[b+{refusedAt}] := now;
			end if;
			n := least(p[q+15], {whole} - {adaptFloor});
			if n > lim[b+{cut}] then
				lim[b+{cut}] := n;
				lim[b+{cutAt}] := now;
			end if;
			if p[q+20] <> 0 and kind in ({bucket}, {log}, {fixed}) then
				left_ := p[q+16] - lim[b+{granted}];
				reset_ := p[q+17];
				if reset_ > 0 and reset_ <= {maxLearned} then
					believed := true;
{believe}
				end if;
				if p[q+18] > 0 and (lim[b+{quota}] = 0 or p[q+18] < lim[b+{quota}]) and p[q+19] < {quotaKept} and kind <> {bucket} then
					lim[b+{quota}] := p[q+18];
					lim[b+{heard}] := now - p[q+19];
				end if;
			end if;
		end if;
		if restoring and not leave then
			xversion := xversion + 1;
		end if;
		whole := units;
		if lim[b+{cut}] > 0 then
			whole := greatest(1, floor(whole::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
		end if;
		self := null;
		n := 0;
		k := 0;
		free := whole;
		for o in 0..cardinality(lists)/{listSize}-1 loop
			m := o * {listSize};
			if lists[m+1] = blk then
				if lists[m+2] = {lease} then
					n := n + 1;
					free := free - lists[m+4];
					if lists[m+3] = id and self is null then
						self := m;
					end if;
				elsif lists[m+2] = {waiter} then
					k := k + 1;
				end if;
			end if;
		end loop;
		if leave then
			if self is not null then
				lists := lists[1:self] || lists[self+{listSize}+1:];
			end if;
			if k > 0 then
				for o in reverse cardinality(lists)/{listSize}-1..0 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {waiter} and lists[m+3] = p_short then
						lists := lists[1:m] || lists[m+{listSize}+1:];
					end if;
				end loop;
			end if;
			self := null;
{offer}
			xversion := xversion + 1;
		elsif id = 0 or cost <= 0 or kind <> {slots} then
			null;
		elsif self is not null then
			lists[self+6] := greatest(lists[self+6], now + lease_);
			xversion := xversion + 1;
		elsif not known then
			if not restoring and (cost > free or k > 0) or n >= {leaseMost} then
				alllost := alllost || p[q+2];
			else
				lists := lists || array[blk, {lease}, id, cost, now, now + lease_, 0];
				xversion := xversion + 1;
			end if;
		end if;
		q := q + 20;
	end loop;
	now := case when p_at <> 0 then p_at else {clock} end;
	if leave then
		delete from {schema}.members where member = p_member;
	else
		insert into {schema}.members (member, short, numbers, apart, secret, fleet, seen, until)
			values (p_member, p_short, p_numbers, p[4] <> 0, p_secret, p_fleet, now, now + p[2])
			on conflict (member) do update set numbers = excluded.numbers, apart = excluded.apart, secret = excluded.secret,
				fleet = excluded.fleet, seen = excluded.seen, until = excluded.until;
		insert into {schema}.numbers (numbers, limits) values (p_numbers, p_limits) on conflict do nothing;
	end if;
	delete from {schema}.numbers d where d.numbers in (select e.numbers from {schema}.numbers e
		where e.numbers <> p_numbers and not exists (select from {schema}.members o where o.numbers = e.numbers)
		order by e.numbers for update skip locked);
	delete from {schema}.members d where d.member in (select e.member from {schema}.members e where e.until <= now order by e.member for update skip locked);
	r := array[forgot, now]::bigint[] || alllost;
end
$$;

-- sweep drops keys that have been as good as new for some time, of so many that follow one: to make
-- a row anew costs more than to use it again. It returns the last of these; null = there is none
-- after them.
create function {schema}.sweep(p_at bigint, p_after uuid, p_many int) returns uuid language plpgsql as $$
declare
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	last_ uuid;
begin
	select k.key into last_ from {schema}.keys k where k.key > p_after order by k.key offset p_many - 1 limit 1;
	delete from {schema}.keys d where d.key in (
		select k.key from {schema}.keys k
			where k.key > p_after and (last_ is null or k.key <= last_) and greatest(now, k.seen) >= k.expires + {rowKept}
			order by k.key for update skip locked);
	return last_;
end
$$;
