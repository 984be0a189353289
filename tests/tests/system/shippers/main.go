// Clients that others have written, for a test: `fluent` is Fluent's own logger, which Docker's log driver is
// made of; `lumberjack` is Elastic's own client, which Filebeat is made of. Each sends numbered lines until they
// are acknowledged, and prints `acked FIRST LAST` for each call.
//
//	shippers fluent|lumberjack ADDRESS FIRST LAST
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	lumberjack "github.com/elastic/go-lumber/client/v2"
	"github.com/fluent/fluent-logger-golang/fluent"
)

// Events of one window of Beats.
const window = 2

func line(name string, number int) map[string]interface{} {
	return map[string]interface{}{
		"@timestamp": time.Unix(1700000000, 0).UTC().Format(time.RFC3339),
		"message":    fmt.Sprintf("%s-%d", name, number),
		"host":       map[string]interface{}{"name": "web-1"},
	}
}

func fluentd(host string, port, first, last int) {
	logger, err := fluent.New(fluent.Config{
		FluentHost: host, FluentPort: port, RequestAck: true, SubSecondPrecision: true,
		Timeout: time.Second, WriteTimeout: time.Second, ReadTimeout: 20 * time.Second,
		RetryWait: 20, MaxRetryWait: 200, MaxRetry: 5000,
	})
	if err != nil {
		panic(err)
	}
	for number := first; number < last; number++ {
		if err := logger.PostWithTime("go", time.Unix(1700000000, 0), line("fluent", number)); err != nil {
			panic(err)
		}
		fmt.Println("acked", number, number)
	}
}

func beats(address string, first, last int) {
	for first < last {
		client, err := lumberjack.SyncDialWith(net.Dial, address, lumberjack.CompressionLevel(3),
			lumberjack.Timeout(20*time.Second))
		for err == nil && first < last {
			var batch []interface{}
			for number := first; number < min(last, first+window); number++ {
				batch = append(batch, line("lumberjack", number))
			}
			acknowledged := 0
			acknowledged, err = client.Send(batch)
			if acknowledged > 0 {
				fmt.Println("acked", first, first+acknowledged-1)
			}
			first += acknowledged
		}
		if client != nil {
			client.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "again:", err)
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func main() {
	host, port, err := net.SplitHostPort(os.Args[2])
	if err != nil {
		panic(err)
	}
	var numbers [3]int
	for place, text := range []string{port, os.Args[3], os.Args[4]} {
		if numbers[place], err = strconv.Atoi(text); err != nil {
			panic(err)
		}
	}
	if os.Args[1] == "fluent" {
		fluentd(host, numbers[0], numbers[1], numbers[2])
	} else {
		beats(os.Args[2], numbers[1], numbers[2])
	}
}
