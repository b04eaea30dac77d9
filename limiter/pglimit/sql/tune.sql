			-- The limit at b goes on with the numbers of a limit: units, span.
			if lim[b+{time}] <> span or lim[b+{most}] <> units then
				if lim[b+{kind}] = {bucket} and units > 0 and lim[b+{most}] > 0 then
					x := lim[b+{most}]::float8 - greatest(0, lim[b+{tat}] - now)::float8 * lim[b+{most}]::float8 / lim[b+{time}]::float8;
					x := ceil(greatest(0, units::float8 - x) * span::float8 / units::float8);
					lim[b+{tat}] := now + least(x, (2 * span)::float8)::bigint;
					lim[b+{reserved}] := least(lim[b+{reserved}], lim[b+{tat}]);
				end if;
				lim[b+{time}] := span;
				lim[b+{most}] := units;
				dirty := true;
			end if;
