-- Accounts that are paused, and of which it is remembered that they are not any more. These tables are logged, since a pause must
-- outlive a crash.
create table {schema}.pauses (
	account uuid primary key,
	version bigint not null,
	change  bigint not null,
	at      bigint not null,
	until   bigint not null,
	resumed boolean not null,
	reason  bytea not null,
	process uuid not null,
	number  bigint not null
) with (fillfactor = 50);
create unique index on {schema}.pauses (change);

-- The one row says which memory this is, the latest change, and the latest ones of requests.
create table {schema}.pause_marks (
	store bigint not null default 0,
	last  bigint not null default 0,
	marks bigint[] not null default '{}'
) with (fillfactor = 20);
insert into {schema}.pause_marks default values;

-- pause makes changes to the accounts that are paused, and tells what others have changed. What is
-- right here is what package storetest's Memory does. p_mark is: store, change, page. p is, for each
-- change: version, late, after, resumed, ago, left, number. r is: lost, more, store, change, page; then, for
-- each change and each entry: full 1 or newer 2, version, resumed, ago, left, number.
create function {schema}.pause(p_at bigint, p_mark bigint[], p_accounts uuid[], p_by uuid[], p bigint[], p_reasons bytea[],
	out r bigint[], out accounts uuid[], out bys uuid[], out reasons bytea[]) language plpgsql as $$
#variable_conflict use_variable
declare
	now bigint := p_at;
	store_ bigint; last_ bigint; marks_ bigint[]; before bigint;
	after bigint := 0; lost int := 0; more int := 0;
	account_ uuid; version_ bigint; resumed_ boolean; at_ bigint; until_ bigint; reason_ bytea; full_ int;
	old {schema}.pauses; e {schema}.pauses;
	none boolean; again boolean; known bigint; after_ bigint; paused bigint; n bigint; q int;
begin
	accounts := '{}';
	bys := '{}';
	reasons := '{}';
	if cardinality(p_accounts) > 0 then
		select m.store, m.last, m.marks into store_, last_, marks_ from {schema}.pause_marks m for update;
	else
		select m.store, m.last into store_, last_ from {schema}.pause_marks m;
		if p_mark[1] = store_ and p_mark[2] = last_ and p_mark[3] = 0 then
			r := array[0, 0, store_, last_, 0];
			return;
		end if;
		select m.store, m.last, m.marks into store_, last_, marks_ from {schema}.pause_marks m;
	end if;
	if p_at = 0 then
		now := {clock}; -- the row may have been locked for a while
	end if;
	if p_mark[2] <> 0 then
		if p_mark[1] <> store_ or p_mark[2] <> all(marks_) then
			lost := 1;
		elsif p_mark[3] <> 0 then
			after := p_mark[3];
		else
			after := p_mark[2];
		end if;
	end if;
	before := last_;
	r := array[lost, 0, 0, 0, 0];

	if cardinality(p_accounts) > 0 then
		delete from {schema}.pauses d where d.until <> 0 and d.until + {pauseKept} <= now;
		select count(*) filter (where not o.resumed and (o.until = 0 or o.until > now)), count(*) into paused, n from {schema}.pauses o;
		if n - paused > {pausesMost} then
			delete from {schema}.pauses d where d.account in (select o.account from {schema}.pauses o
				where o.resumed or o.until <> 0 and o.until <= now order by o.until, o.account limit n - paused - {pausesMost});
		end if;
	end if;
	for i in 1..cardinality(p_accounts) loop
		q := (i - 1) * 7;
		account_ := p_accounts[i];
		version_ := p[q+1];
		resumed_ := p[q+4] <> 0;
		at_ := now - p[q+5];
		until_ := 0;
		reason_ := p_reasons[i];
		full_ := 0;
		select * into old from {schema}.pauses k where k.account = account_;
		none := not found;
		n := case when resumed_ then 0 else 1 end - case when none or old.resumed or old.until <> 0 and old.until <= now then 0 else 1 end;
		known := coalesce(old.version, 0);
		after_ := p[q+3];
		again := false;
		if version_ = 0 and old.process = p_by[i] then -- who made that knows it
			after_ := greatest(after_, known);
			again := p[q+7] <= old.number;
		end if;
		if version_ = 0 and p[q+2] <> 0 then
			version_ := greatest(now - p[q+5], after_ + 1);
		elsif version_ = 0 then
			version_ := greatest(last_ + 1, now, after_ + 1, known + 1);
			at_ := now;
		end if;
		if p[q+1] = 0 and least(known, 4503599627370496) > after_ and not again then
			full_ := 2;
		end if;
		if resumed_ then
			until_ := now;
			if p[q+1] <> 0 and p[q+6] > 0 then
				until_ := now - {pauseKept} + least(p[q+6], {pauseKept});
			end if;
		elsif p[q+6] > 0 then
			until_ := now + p[q+6];
		end if;
		if again or full_ = 2 or version_ <= known or p[q+6] < 0 then
			null; -- it stays as it is
		elsif n > 0 and paused >= {pausesMost} then
			full_ := 1;
		else
			if store_ = 0 then
				store_ := now;
			end if;
			last_ := greatest(last_ + 1, now);
			paused := paused + n;
			insert into {schema}.pauses as k (account, version, change, at, until, resumed, reason, process, number)
				values (account_, version_, last_, at_, until_, resumed_, reason_, p_by[i], p[q+7])
				on conflict (account) do update set version = version_, change = last_, at = at_, until = until_, resumed = resumed_, reason = reason_, process = p_by[i], number = p[q+7]
				returning k.* into old;
			none := false;
		end if;
		if none then
			r := r || array[full_, 0, 0, 0, 0, 0];
		elsif old.resumed or old.until <> 0 and old.until <= now then
			r := r || array[full_, old.version, 1, greatest(0, now - old.at), greatest(1, old.until + {pauseKept} - now), old.number];
			old.reason := '';
		else
			r := r || array[full_, old.version, 0, greatest(0, now - old.at), case when old.until <> 0 then old.until - now else 0 end, old.number];
		end if;
		accounts := accounts || old.account;
		bys := bys || old.process;
		reasons := reasons || old.reason;
	end loop;
	if last_ <> before then
		marks_ := marks_ || last_;
		if cardinality(marks_) > {pauseMarks} then
			marks_ := marks_[cardinality(marks_)-{pauseMarks}+1:];
		end if;
		update {schema}.pause_marks m set store = store_, last = last_, marks = marks_;
		perform pg_notify('{channel}', 'p');
	end if;

	n := 0;
	for e in select * from {schema}.pauses k where k.change > after and (k.until = 0 or k.until + {pauseKept} > now) order by k.change limit {pausesTold} + 1 loop
		n := n + 1;
		if n > {pausesTold} then
			more := 1;
			exit;
		end if;
		if e.resumed or e.until <> 0 and e.until <= now then
			r := r || array[0, e.version, 1, greatest(0, now - e.at), greatest(1, e.until + {pauseKept} - now), e.number];
			e.reason := '';
		else
			r := r || array[0, e.version, 0, greatest(0, now - e.at), case when e.until <> 0 then e.until - now else 0 end, e.number];
		end if;
		accounts := accounts || e.account;
		bys := bys || e.process;
		reasons := reasons || e.reason;
		after := e.change;
	end loop;
	r[2] := more;
	r[3] := store_;
	r[4] := last_;
	r[5] := case when more <> 0 then after else 0 end;
end
$$;
