package redislimit

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

var _ limiter.CredentialStore = (*Store)(nil)

// Credential implements [limiter.CredentialStore]. Its data must survive a restart of the
// server, which needs `appendonly yes`. Without that, a refresh token can be spent twice if the
// server restarts after a process has died in the middle of a refresh.
func (s *Store) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	number := func(n uint64) string { return strconv.FormatInt(storecodec.Version(n), 10) }
	micro := func(d time.Duration) string { return strconv.FormatInt(max(int64(d/time.Microsecond), 0), 10) }
	bit := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	call := Call{
		Keys: []string{s.epochs[r.Key.Place[0]], s.name(&r.Key)},
		Args: []string{
			strconv.Itoa(int(r.Step)), hex.EncodeToString(r.Member[:]), micro(r.Lease), number(r.Known), number(r.Fence),
			bit(r.Spent), bit(r.Reusable), micro(r.Retry), r.As, s.time(),
		},
	}
	// Options.Timeout does not apply, since no call waits here for its turn to be sent.
	if err := s.server.Eval(ctx, credentialScript, &call); err != nil {
		return limiter.CredentialState{}, err
	}
	fields := strings.SplitN(call.Answer, " ", 6)
	if len(fields) != 6 {
		return limiter.CredentialState{}, errAnswer
	}
	var numbers [5]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return limiter.CredentialState{}, fmt.Errorf("%w: %q", errAnswer, fields[i])
		}
		numbers[i] = n
	}
	return limiter.CredentialState{
		Phase: limiter.CredentialPhase(numbers[0]), Generation: numbers[1], Fence: numbers[2],
		Wait: time.Duration(numbers[3]) * time.Microsecond, Since: time.Duration(numbers[4]) * time.Microsecond, As: fields[5],
	}, nil
}
