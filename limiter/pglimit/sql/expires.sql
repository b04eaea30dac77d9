			-- expires is when the value is as good as new; it is at least what it is before.
			for o in 0..cardinality(lim)/{limSize}-1 loop
				b := o * {limSize} + 1;
				if lim[b+{hold}] = 0 and lim[b+{allowed}] = 0 and lim[b+{refusals}] = 0 and lim[b+{cut}] = 0 and lim[b+{credit}] = 0
					and lim[b+{wanted}] = 0 and lim[b+{reset}] = 0 and lim[b+{quota}] = 0 and lim[b+{liftedAt}] = 0 then
					lim[b+{later}] := 0;
				else
					lim[b+{later}] := greatest(1, lim[b+{reset}],
						case when lim[b+{hold}] <> 0 then lim[b+{hold}] + greatest({probeLapse}, lim[b+{time}]) else 0 end,
						case when lim[b+{allowed}] > 0 then lim[b+{lapse}] else 0 end,
						case when lim[b+{refusals}] > 0 then lim[b+{refusedAt}] + {refusalLapse} else 0 end,
						case when lim[b+{liftedAt}] > 0 then lim[b+{liftedAt}] + {liftedFor} else 0 end,
						case when lim[b+{cut}] > 0 then lim[b+{cutAt}] + lim[b+{cut}] * {adaptTick} else 0 end,
						case when lim[b+{credit}] > 0 then lim[b+{wanted}] + {wantedFor} else 0 end,
						case when lim[b+{quota}] > 0 then lim[b+{heard}] + {quotaKept} else 0 end);
				end if;
				expires := greatest(expires, xsince + lim[b+{time}], lim[b+{later}], case when lim[b+{kind}] = {bucket} then lim[b+{tat}] else 0 end);
			end loop;
			for o in 0..cardinality(lists)/{listSize}-1 loop
				m := o * {listSize};
				expires := greatest(expires, case lists[m+2]
					when {logEntry} then lists[m+3] + lim[(lists[m+1]-1)*{limSize}+1+{time}] + 1
					when {probe} then lists[m+4]
					else lists[m+6] end);
			end loop;
