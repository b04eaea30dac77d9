			-- The limit at b has been used up as of the time usedup.
			if usedup + span > now then
				dirty := true;
				if lim[b+{kind}] = {bucket} then
					lim[b+{tat}] := greatest(lim[b+{tat}], usedup + span);
				elsif lim[b+{kind}] = {log} then
					lim[b+{tat}] := greatest(lim[b+{tat}], usedup);
					m := least(units, {logExact});
					for o in 1..m loop
						n := usedup - span + span * o / m;
						if n + span >= now then
							lists := lists || array[blk, {logEntry}, n, (units + m - 1) / m, 0, 0, 0];
						end if;
					end loop;
				end if;
			end if;
