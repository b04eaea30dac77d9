-- epoch is since when the keys of a place are known.
create function {schema}.epoch(p_place bigint, p_now bigint) returns bigint language plpgsql as $$
declare
	at bigint;
begin
	loop
		select e.since into at from {schema}.epochs e where e.place = p_place;
		if found then
			return at;
		end if;
		insert into {schema}.epochs (place, since) values (p_place, p_now) on conflict do nothing;
	end loop;
end
$$;

-- begin_epochs notes since when the keys of all places are known, where that is not known.
create function {schema}.begin_epochs(p_at bigint) returns void language sql as $$
	insert into {schema}.epochs (place, since)
		select i, case when p_at <> 0 then p_at else {clock} end from generate_series(0, 255) i
		order by i on conflict do nothing;
$$;

-- remember is a list of permits, without those that are forgotten at the time p_now, with one more.
create function {schema}.remember(ids bigint[], p_now bigint, p_id bigint, p_at bigint) returns bigint[] language plpgsql as $$
declare
	n int := 0;
begin
	while n < cardinality(ids) and ids[n+2] + {recentFor} <= p_now loop
		n := n + 2;
	end loop;
	if n > 0 then
		ids := ids[n+1:];
	end if;
	if cardinality(ids) >= 2 * {recentMost} then
		n := 0;
		for o in 0..cardinality(ids)/2-1 loop
			if ids[o*2+2] + {recentFor} > p_now then
				ids[n+1] := ids[o*2+1];
				ids[n+2] := ids[o*2+2];
				n := n + 2;
			end if;
		end loop;
		ids := ids[greatest(1, n-2*{recentMost}+3):n];
	end if;
	return ids || array[p_id, p_at];
end
$$;
