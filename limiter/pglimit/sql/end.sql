-- ends notes what became of permits. The keys are sorted, each once. p is, for each permit and key:
-- key, id, ending, ago, lease, place, how many uses; then of each use name, kind, units, time, cost.
-- They are sorted by key.
create function {schema}.ends(p_at bigint, p_keys uuid[], p bigint[]) returns void language plpgsql as $$
#variable_conflict use_variable
declare
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	owner int[]; part int := 1;
	thekey uuid;
	place bigint;
	i int := 0; q int := 0; uses int;
	loaded boolean;
	lim bigint[]; lists bigint[]; ids bigint[]; void bigint[];
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	fresh boolean;
	id bigint; ending bigint; ago bigint; refund boolean; over boolean; good boolean; is_ boolean; ended boolean;
	known boolean; at bigint; giveback boolean; dirty boolean;
	blk int; b int;
	name bigint; kind bigint; units bigint; span bigint; cost bigint;
	n bigint; m bigint; k bigint; x float8;
	free bigint; whole bigint; credit bigint; pick bigint; back bigint; self bigint;
begin
	loop
		if q >= cardinality(p) or p[q+1] <> i then -- the next key
			if i > 0 and loaded then
{save}
			end if;
			exit when q >= cardinality(p);
			i := p[q+1];
			thekey := p_keys[i];
			loaded := false;
			now := case when p_at <> 0 then p_at else {clock} end;
			select k_.expires, k_.seen into expires, xseen from {schema}.keys k_ where k_.key = thekey for no key update;
			if found and expires > greatest(now, xseen) then
				place := p[q+6];
{load}
{prune}
				loaded := true;
			end if;
		end if;
		id := p[q+2]; ending := p[q+3]; ago := p[q+4]; place := p[q+6]; uses := p[q+7];
		refund := ending = {cancelled} or ending = {refunded};
		over := ending <> {succeeded} and ending <> {refunded};
		good := ending = {completed} or ending = {succeeded};
		if not loaded then
			if not refund and not (over and ago < {recentFor}) then
				q := q + 7 + 5 * uses;
				continue;
			end if;
			now := case when p_at <> 0 then p_at else {clock} end;
{load}
{prune}
			loaded := true;
		end if;
		is_ := false;
		ended := false;
		for o in 1..cardinality(void)/3 loop
			if void[o*3-2] = id and void[o*3-1] > now then
				is_ := true;
				ended := void[o*3] <> 0;
			end if;
		end loop;
		if ended then
			q := q + 7 + 5 * uses;
			continue;
		end if;
		known := false;
		for o in 1..cardinality(ids)/2 loop
			if ids[o*2-1] = id and ids[o*2] + {recentFor} > now then
				known := true;
				at := ids[o*2];
				exit;
			end if;
		end loop;
		if not known then
			for o in 0..cardinality(lists)/{listSize}-1 loop
				m := o * {listSize};
				if lists[m+2] = {lease} and lists[m+3] = id then
					known := true;
					at := lists[m+5];
					exit;
				end if;
			end loop;
		end if;
		if not known then
			at := now - ago;
		end if;
		if refund or over and not known and ago < {recentFor} then
			n := now + p[q+5];
			k := over::int;
{voidit}
		end if;
		giveback := refund and not is_ and (known or ago >= {recentFor});
		for u in 1..uses loop
			k := q + 7 + 5 * (u - 1);
			name := p[k+1]; kind := p[k+2]; units := p[k+3]; span := p[k+4]; cost := p[k+5];
			blk := 0;
			for o in 1..cardinality(lim)/{limSize} loop
				if lim[(o-1)*{limSize}+1] = name and lim[(o-1)*{limSize}+1+{kind}] = kind then
					blk := o;
					exit;
				end if;
			end loop;
			continue when blk = 0;
			b := (blk - 1) * {limSize} + 1;
{advance}
{tune}
			if giveback then
				if kind = {bucket} and cost > 0 and units > 0 then
					x := cost::float8 * span::float8 / units::float8;
					if lim[b+{cut}] > 0 then
						x := x * {whole} / ({whole} - lim[b+{cut}])::float8;
					end if;
					n := least(ceil(x), {longestStep})::bigint - greatest(0, now - at);
					if n > 0 then
						-- It gets no fuller than what is reserved of it leaves. That is less by this only if nothing is
						-- reserved as of a later time.
						if at > now and not exists (select from generate_series(2, cardinality(ids), 2) o where ids[o] > at and ids[o] + {recentFor} > now) then
							lim[b+{reserved}] := greatest(0, lim[b+{reserved}] - n);
						end if;
						lim[b+{tat}] := greatest(lim[b+{reserved}], lim[b+{tat}] - n);
					end if;
				elsif kind = {log} then
					n := 0;
					if units > {logExact} then
						n := greatest(1, span / {logParts});
					end if;
					self := null;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						m := o * {listSize};
						if lists[m+1] = blk and lists[m+2] = {logEntry} and lists[m+3] <= at + n then
							self := m;
						end if;
					end loop;
					if self is not null and lists[self+3] >= at - {refundReach} then
						lists[self+4] := greatest(0, lists[self+4] - cost);
						if lists[self+4] = 0 then
							lists := lists[1:self] || lists[self+{listSize}+1:];
						end if;
					end if;
				end if;
				if (kind = {bucket} or kind = {log} or kind = {fixed}) and lim[b+{reset}] <> 0 and at >= lim[b+{lsince}] then
					lim[b+{left}] := lim[b+{left}] + cost;
				end if;
			end if;
			if good and at >= lim[b+{refusedAt}] then
				lim[b+{refusals}] := 0;
			end if;
			if lim[b+{allowed}] > 0 then
				self := null;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {probe} and lists[m+3] = id then
						self := m;
					end if;
				end loop;
				if self is not null then
					lists := lists[1:self] || lists[self+{listSize}+1:];
					if not refund then
						lim[b+{allowed}] := lim[b+{allowed}] + 1;
						lim[b+{lapse}] := now + {probeLapse};
						if lim[b+{allowed}] > {maxProbes} or kind = {slots} and lim[b+{allowed}] >= units then
							lim[b+{allowed}] := 0;
							lists := {schema}.without_probes(lists, blk);
						end if;
					end if;
				end if;
			end if;
			if over and kind = {slots} then
				self := null;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					m := o * {listSize};
					if lists[m+1] = blk and lists[m+2] = {lease} and lists[m+3] = id then
						self := m;
						exit;
					end if;
				end loop;
				if self is not null then
					lists := lists[1:self] || lists[self+{listSize}+1:];
					self := null;
					whole := units;
					if lim[b+{cut}] > 0 then
						whole := greatest(1, floor(whole::float8 * ({whole} - lim[b+{cut}])::float8 / {whole})::bigint);
					end if;
{offer}
				end if;
			end if;
		end loop;
		xversion := xversion + 1;
		q := q + 7 + 5 * uses;
	end loop;
end
$$;

-- without_probes is lists without the probes of a limit.
create function {schema}.without_probes(lists bigint[], blk int) returns bigint[] language plpgsql as $$
declare
	kept bigint[] := '{}';
begin
	for o in 0..cardinality(lists)/{listSize}-1 loop
		if lists[o*{listSize}+1] <> blk or lists[o*{listSize}+2] <> {probe} then
			kept := kept || lists[o*{listSize}+1:(o+1)*{listSize}];
		end if;
	end loop;
	return kept;
end
$$;
