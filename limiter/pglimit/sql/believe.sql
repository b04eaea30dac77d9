			-- believed is whether what a reply says is newer than what is known.
			reset_ := now + reset_;
			slop_ := least({resetSlop}, (reset_ - now) / 4);
			if kind = {fixed} and lim[b+{last}] <> 0 then
				reset_ := greatest(reset_, lim[b+{last}] + span - slop_);
			end if;
			if lim[b+{reset}] = 0 or lim[b+{guessed}] <> 0 and kind <> {fixed} then
				null;
			elsif lim[b+{guessed}] <> 0 then
				left_ := least(left_, lim[b+{left}]);
			elsif reset_ < lim[b+{first}] - lim[b+{slop}] then
				believed := false; -- of an earlier window
			elsif reset_ <= lim[b+{first}] + lim[b+{slop}] then
				lim[b+{reset}] := greatest(lim[b+{reset}], reset_);
				if left_ > lim[b+{left}] then
					believed := false;
				else
					lim[b+{left}] := left_;
					lim[b+{lsince}] := now;
				end if;
				reset_ := 0;
			elsif kind = {fixed} and now < lim[b+{reset}] - lim[b+{slop}] then
				left_ := least(left_, lim[b+{left}]);
			end if;
			if believed and reset_ <> 0 then
				if kind = {fixed} then
					left_ := least(left_, units);
				end if;
				lim[b+{left}] := left_;
				lim[b+{reset}] := reset_;
				lim[b+{first}] := reset_;
				lim[b+{slop}] := slop_;
				lim[b+{lsince}] := now;
				lim[b+{guessed}] := 0;
			end if;
