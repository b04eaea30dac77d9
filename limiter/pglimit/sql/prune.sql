			-- Entries of lists that do not count any more are dropped.
			n := 0;
			for o in 0..cardinality(lists)/{listSize}-1 loop
				m := o * {listSize};
				if (case lists[m+2]
					when {lease} then lists[m+6] <= now
					when {claim} then lists[m+6] <= now
					when {waiter} then lists[m+6] <= now or lists[m+7] <> 0 and lists[m+7] + {keptFor} <= now
					when {logEntry} then lists[m+3] + lim[(lists[m+1]-1)*{limSize}+1+{time}] < now
					else lists[m+4] <= now
				end) then
					n := n + 1;
				elsif n > 0 then
					lists[m-n*{listSize}+1:m-n*{listSize}+{listSize}] := lists[m+1:m+{listSize}];
				end if;
			end loop;
			if n > 0 then
				lists := lists[1:cardinality(lists)-n*{listSize}];
				dirty := true;
			end if;
