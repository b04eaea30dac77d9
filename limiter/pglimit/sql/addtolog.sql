				-- cost units are noted in the log at b as of the time at.
				lim[b+{tat}] := greatest(lim[b+{tat}], at);
				k := at;
				if units > {logExact} then
					n := greatest(1, span / {logParts});
					k := (k + n - 1) / n * n;
				end if;
				self := null;
				for o in 0..cardinality(lists)/{listSize}-1 loop
					if lists[o*{listSize}+1] = blk and lists[o*{listSize}+2] = {logEntry} then
						self := o * {listSize};
					end if;
				end loop;
				if self is not null and lists[self+3] >= k then
					lists[self+4] := lists[self+4] + cost;
				else
					lists := lists || array[blk, {logEntry}, k, cost, 0, 0, 0];
				end if;
