package limiter_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// What an outage's calls have used is charged once, and all of it, where the answers to some of the
// requests that tell of it are lost.
func TestDebtToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &debts{Memory: storetest.NewMemory(nil), charged: map[StoreID]int64{}}
		time.Sleep(24 * time.Hour)
		m := NewMember(store, MemberOptions{Workers: 1})
		defer m.Close(context.Background())
		l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 100, Burst: 100}}, Options{Member: m, Namespace: "test"})
		if err != nil {
			t.Fatal(err)
		}
		store.SetFault(func(op string) storetest.Fault {
			if op == "take" || op == "renew" {
				return storetest.Fault{After: errors.New("the answer is lost")}
			}
			return storetest.Fault{}
		})
		for range 100 {
			p, ok := l.TryAcquire(request(Use{Limit: "user", Cost: 1}))
			if ok {
				p.Complete()
			}
			time.Sleep(100 * time.Millisecond)
		}
		shared := m.State().Shared
		store.SetFault(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		sum := int64(0)
		for _, n := range store.charged {
			sum += n
		}
		if shared == 0 || sum != shared {
			t.Errorf("charged %d units, want the %d that passed without the store", sum, shared)
		}
	})
}

// debts is a store that notes what it was told first of each debt, which is what it charges.
type debts struct {
	*storetest.Memory
	charged map[StoreID]int64 // written by the one goroutine that renews
}

func (d *debts) Renew(ctx context.Context, r *StoreRenewal) (StoreRenewed, error) {
	for _, debt := range r.Debts {
		if _, ok := d.charged[debt.ID]; !ok {
			d.charged[debt.ID] = debt.Units
		}
	}
	return d.Memory.Renew(ctx, r)
}
