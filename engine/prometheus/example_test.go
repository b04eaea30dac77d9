package recourseprom_test

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/recourse-go/recourse/engine"
	recourseprom "github.com/recourse-go/recourse/engine/prometheus"
)

// The collector watches an engine and is scraped with everything else.
func Example() {
	metrics := recourseprom.New(recourseprom.Options{})
	eng, err := engine.New(engine.Options{Observer: metrics})
	if err != nil {
		fmt.Println(err)
		return
	}
	metrics.Attach(eng)
	prometheus.MustRegister(metrics)

	client := &http.Client{Transport: eng.Transport(nil)}
	_ = client
}
