			-- blk and b are where the limit name is, as it is at the time now.
			blk := 0;
			for o in 1..cardinality(lim)/{limSize} loop
				if lim[(o-1)*{limSize}+1] = name and (owner is null or owner[o] = part) then
					blk := o;
					exit;
				end if;
			end loop;
			b := (blk - 1) * {limSize} + 1;
			if blk = 0 then
				lim := lim || array[name, kind, span, units{zeros}];
				blk := cardinality(lim) / {limSize};
				b := (blk - 1) * {limSize} + 1;
				if owner is not null then
					owner := owner || part;
				end if;
				usedup := {since};
				dirty := true;
{useup}
			elsif lim[b+{kind}] <> kind then
				usedup := now;
				lim[b+{kind}] := kind;
				lim[b+{time}] := span;
				lim[b+{most}] := units;
				lim[b+{tat}] := 0;
				lim[b+{reserved}] := 0;
				for o in {left}..{quota} loop lim[b+o] := 0; end loop;
				select coalesce(array_agg(u.l order by u.i), '{}') into lists from unnest(lists) with ordinality as u(l, i)
					where lists[(u.i-1)/{listSize}*{listSize}+1] <> blk or lists[(u.i-1)/{listSize}*{listSize}+2] = {probe};
				dirty := true;
{useup}
			end if;
{advance}
{tune}
