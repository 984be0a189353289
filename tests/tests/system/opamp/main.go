// An agent that others have written, for a test: opamp-go's own client, which the OpenTelemetry supervisor is made
// of. It accepts configurations and prints `connected`, and `config HASH` for each one that it is offered.
//
//	opamp URL NAME
//
// The URL begins with http:// or with ws://.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/open-telemetry/opamp-go/client"
	"github.com/open-telemetry/opamp-go/client/types"
	"github.com/open-telemetry/opamp-go/protobufs"
)

func attribute(key, value string) *protobufs.KeyValue {
	text := &protobufs.AnyValue_StringValue{StringValue: value}
	return &protobufs.KeyValue{Key: key, Value: &protobufs.AnyValue{Value: text}}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	url, name := os.Args[1], os.Args[2]
	var agent client.OpAMPClient = client.NewHTTP(nil)
	if strings.HasPrefix(url, "ws") {
		agent = client.NewWebSocket(nil)
	}
	check(agent.SetAgentDescription(&protobufs.AgentDescription{
		IdentifyingAttributes: []*protobufs.KeyValue{
			attribute("service.name", "otel"), attribute("service.instance.id", name),
			attribute("service.version", "1.2.3"),
		},
		// The labels of an assignment.
		NonIdentifyingAttributes: []*protobufs.KeyValue{attribute("role", "edge")},
	}))
	// Before the capability to report it.
	check(agent.SetHealth(&protobufs.ComponentHealth{Healthy: true, Status: "well"}))
	capabilities := protobufs.AgentCapabilities_AgentCapabilities_ReportsStatus |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHealth |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHeartbeat
	check(agent.SetCapabilities(&capabilities))
	uid := types.InstanceUid{}
	copy(uid[:], name)
	heartbeat := time.Second
	check(agent.Start(context.Background(), types.StartSettings{
		OpAMPServerURL:    url,
		InstanceUid:       uid,
		HeartbeatInterval: &heartbeat,
		Callbacks: types.Callbacks{
			OnConnect:       func(context.Context) { fmt.Println("connected") },
			OnConnectFailed: func(_ context.Context, err error) { fmt.Println("failed", err) },
			OnMessage: func(_ context.Context, message *types.MessageData) {
				if message.RemoteConfig != nil {
					fmt.Printf("config %x\n", message.RemoteConfig.ConfigHash)
				}
			},
		},
	}))
	select {}
}
