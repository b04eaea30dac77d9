-- change notes what is known of a limit from elsewhere. p is: kind, place, name, kind of the
-- limit, units, time, adapt, sent, hold, remaining, reset, quota, count; then the steps. r is: refusals,
-- held, version, when the cause was, lowered, left, reset, quota, count.
create function {schema}.change(p_at bigint, p_key uuid, p bigint[], p_cause bytea, out r bigint[], out cause bytea) language plpgsql as $$
#variable_conflict use_variable
declare
	now bigint := case when p_at <> 0 then p_at else {clock} end;
	owner int[]; part int := 1;
	thekey uuid := p_key;
	place bigint := p[2];
	lim bigint[]; lists bigint[]; ids bigint[]; void bigint[];
	xversion bigint; xseen bigint; xsince bigint; xrestore bigint; xepoch bigint; expires bigint;
	fresh boolean; dirty boolean; told boolean := false;
	blk int; b int;
	name bigint := p[3]; kind bigint := p[4]; units bigint := p[5]; span bigint := p[6];
	remaining bigint := p[10]; reset_ bigint := p[11]; count_ bigint := p[13];
	until bigint; left_ bigint; slop_ bigint; believed boolean;
	usedup bigint; n bigint; m bigint; x float8;
begin
{load}
{prune}
{find}
	until := 0;
	if p[1] = {refused} then
		if lim[b+{refusals}] > 0 and now >= lim[b+{refusedAt}] + {refusalLapse} then
			lim[b+{refusals}] := 0;
		end if;
		if lim[b+{refusals}] = 0 or p[8] < 0 or now - p[8] >= lim[b+{refusedAt}] then
			lim[b+{refusals}] := least(lim[b+{refusals}] + 1, {maxRefusals});
			lim[b+{refusedAt}] := now;
			if p[7] <> 0 and now >= lim[b+{cutNext}] then
				lim[b+{cut}] := {whole} - greatest({adaptFloor}, ({whole} - lim[b+{cut}]) * {adaptCut} / {whole});
				lim[b+{cutAt}] := now;
				lim[b+{cutNext}] := now + {adaptEvery};
			end if;
		end if;
		n := least(cardinality(p) - 13, lim[b+{refusals}]);
		if n > 0 then
			until := now + p[13+n];
		end if;
	elsif p[1] = {held} then
		until := now + p[9];
	elsif p[1] = {lifted} then
		told := true;
		lim[b+{liftedAt}] := greatest(now, lim[b+{hold}] - {liftedFor}); -- remembered at least until the hold would have ended
		lim[b+{hold}] := 0;
		lim[b+{causeAt}] := 0;
		lim[b+{allowed}] := 0;
		lim[b+{reset}] := 0;
		lim[b+{left}] := 0;
		lim[b+{quota}] := 0;
		lim[b+{guessed}] := 0;
		lists := {schema}.without_probes(lists, blk);
		p_cause := null;
		if not fresh then
			update {schema}.keys u set causes[blk] = null where key = p_key;
		end if;
	elsif remaining >= 0 and reset_ >= 0 and reset_ <= {maxLearned} and kind in ({bucket}, {log}, {fixed}) then
		if count_ > lim[b+{granted}] then
			count_ := 0;
		end if;
		left_ := remaining - (lim[b+{granted}] - count_);
		believed := true;
		if reset_ <> 0 then
{believe}
		elsif count_ < lim[b+{count}] then
			believed := false; -- it began before one that was believed
		elsif kind = {bucket} then
			if greatest(left_, 0) < units then
				lim[b+{tat}] := greatest(lim[b+{tat}], now + span - floor(greatest(left_, 0)::float8 * span::float8 / units::float8)::bigint);
			end if;
		elsif kind = {fixed} and lim[b+{reset}] <> 0 then
			lim[b+{left}] := least(lim[b+{left}], left_);
			lim[b+{lsince}] := now;
		else
			lim[b+{left}] := left_;
			lim[b+{lsince}] := now;
			lim[b+{reset}] := now + span;
			lim[b+{guessed}] := 1;
		end if;
		if believed then
			lim[b+{heard}] := now;
			lim[b+{count}] := count_;
			if p[12] > 0 and kind <> {bucket} then
				lim[b+{quota}] := p[12];
			end if;
		end if;
	end if;
	if until > now and until > lim[b+{hold}] then
		told := true;
		lim[b+{hold}] := until;
		lim[b+{causeAt}] := case when p_cause is null then 0 else now end;
		lim[b+{allowed}] := 0;
		lists := {schema}.without_probes(lists, blk);
	end if;
	xversion := xversion + 1;
	n := blk;
{save}
	b := (n - 1) * {limSize} + 1;
	if told and p[1] <> {lifted} then
		update {schema}.keys u set causes[n] = p_cause where key = p_key;
	end if;
	r := array[lim[b+{refusals}], case when lim[b+{hold}] <> 0 then lim[b+{hold}] - now else 0 end, xversion, 0,
		lim[b+{cut}], 0, 0, lim[b+{quota}], lim[b+{granted}]];
	if lim[b+{reset}] <> 0 and lim[b+{guessed}] = 0 then
		r[6] := greatest(0, lim[b+{left}]);
		r[7] := lim[b+{reset}] - now;
	end if;
	if lim[b+{hold}] <> 0 or lim[b+{allowed}] > 0 then
		select u.causes[n] into cause from {schema}.keys u where key = p_key;
		if cause is not null then
			r[4] := lim[b+{causeAt}];
		end if;
	end if;
	if told then
		perform pg_notify('{channel}', case when p[1] = {lifted} then 'l ' else 'c ' end || p_key);
	end if;
end
$$;
