package browsertest

import (
	"bytes"
	"context"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/recourse-go/recourse/engine/debug"
	"github.com/recourse-go/recourse/internal/demo"
)

var (
	updatePicture = flag.Bool("update-picture", false, "take the picture of the debug page anew, for the README")
	pictureAfter  = flag.Duration("picture-after", 2*time.Minute, "how long the demo runs before the picture, so that its chart has something to show")
)

const (
	picture     = "../../docs/debug-page.png"
	pictureSize = 150 << 10 // bytes at most: everybody who clones the project gets it
)

// The picture of the debug page that the README shows is taken while the demo runs, in a moment
// in which a mailbox is throttled:
//
//	go test -run Picture -update-picture
func TestPicture(t *testing.T) {
	if !*updatePicture {
		info, err := os.Stat(picture)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > pictureSize {
			t.Errorf("%s has %d bytes, want at most %d", picture, info.Size(), pictureSize)
		}
		return
	}
	d, err := demo.Start(demo.Options{Seed: 1, Workers: 64})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(debug.Handler(d.Engine(), debug.Options{Actions: true, ShowAccounts: true}))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Repeat(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		d.Close()
		server.Close()
	})
	tab := open(t, server.URL, view{width: 1200})
	select {
	case <-time.After(*pictureAfter):
	case <-ctx.Done():
	}
	tab.await("document.querySelectorAll('#held-table button').length > 1 && Number(document.getElementById('count-waiting').innerText.replace(/\\D/g, '')) > 9")
	shot, err := chromedp.Run(tab.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer // the browser compresses for speed
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(pixels)); err != nil {
		t.Fatal(err)
	}
	if small.Len() > pictureSize {
		t.Errorf("the picture has %d bytes, want at most %d", small.Len(), pictureSize)
	}
	if err := os.WriteFile(picture, small.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fewColours is a picture in its 256 most frequent colours. The rest are those of the edges of letters.
func fewColours(of image.Image) image.Image {
	times := map[color.RGBA]int{}
	bounds := of.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(of.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			times[at(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(times), func(a, b color.RGBA) int { return times[b] - times[a] })
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	few, nearest := image.NewPaletted(bounds, palette), map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			if _, known := nearest[c]; !known {
				nearest[c] = uint8(palette.Index(c))
			}
			few.SetColorIndex(x, y, nearest[c])
		}
	}
	return few
}
