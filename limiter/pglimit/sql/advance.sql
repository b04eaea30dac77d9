			-- The limit at b is brought up to the time now.
			if lim[b+{hold}] <> 0 or lim[b+{allowed}] <> 0 or lim[b+{cut}] <> 0 or lim[b+{credit}] <> 0 or lim[b+{reset}] <> 0 or lim[b+{quota}] <> 0
				or lim[b+{liftedAt}] <> 0 then
				if lim[b+{reset}] <> 0 and now >= lim[b+{reset}] then
					if lim[b+{guessed}] = 0 then
						lim[b+{last}] := lim[b+{reset}];
					end if;
					lim[b+{reset}] := 0;
					lim[b+{left}] := 0;
					lim[b+{guessed}] := 0;
					dirty := true;
				end if;
				if lim[b+{liftedAt}] <> 0 and now >= lim[b+{liftedAt}] + {liftedFor} then
					lim[b+{liftedAt}] := 0;
					dirty := true;
				end if;
				if lim[b+{quota}] <> 0 and now >= lim[b+{heard}] + {quotaKept} then
					lim[b+{quota}] := 0;
					dirty := true;
				end if;
				if lim[b+{hold}] <> 0 and now >= lim[b+{hold}] then
					n := lim[b+{hold}];
					lim[b+{hold}] := 0;
					dirty := true;
					if lim[b+{kind}] = {bucket} then
						lim[b+{tat}] := greatest(lim[b+{tat}], n + lim[b+{time}]);
					elsif lim[b+{kind}] = {fixed} and lim[b+{last}] <> 0 and lim[b+{refusedAt}] <= lim[b+{last}] and lim[b+{last}] <= n then
						null; -- the provider's window has begun anew since it refused
					else
						lim[b+{allowed}] := 1;
						lim[b+{lapse}] := n + {probeLapse};
					end if;
				end if;
				if lim[b+{allowed}] > 0 and now >= lim[b+{lapse}] then
					n := 0;
					for o in 0..cardinality(lists)/{listSize}-1 loop
						if lists[o*{listSize}+1] = blk and lists[o*{listSize}+2] = {probe} then
							n := n + 1;
						end if;
					end loop;
					if n = 0 then
						lim[b+{allowed}] := 0;
						dirty := true;
					end if;
				end if;
				n := (now - lim[b+{cutAt}]) / {adaptTick};
				if lim[b+{cut}] > 0 and n > 0 then
					lim[b+{cut}] := greatest(0, lim[b+{cut}] - n);
					lim[b+{cutAt}] := lim[b+{cutAt}] + n * {adaptTick};
					dirty := true;
				end if;
				if lim[b+{credit}] > 0 and now >= lim[b+{wanted}] + {wantedFor} then
					lim[b+{credit}] := 0;
					dirty := true;
				end if;
			end if;
