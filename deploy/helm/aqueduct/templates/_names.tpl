{{- /* The image of an agent. */ -}}
{{- define "image" -}}
{{- $name := printf "aqueduct-%s:%s" .kind (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ $name }}
{{- end }}

{{- /* The configuration of the edge, with the names of this release. */ -}}
{{- define "edge.toml" -}}
{{- if .Values.edge.config }}{{ .Values.edge.config }}{{ else -}}
{{- $text := .Files.Get "files/edge.toml" -}}
{{- $text = replace "collectors.aqueduct.svc" (printf "collectors.%s.svc" .Release.Namespace) $text -}}
{{- $text = replace "/var/log/pods/aqueduct_edge-" (printf "/var/log/pods/%s_edge-" .Release.Namespace) $text -}}
{{- $text = replace "${file:/tls/token}" (printf "${file:%s/token}" (include "tokenPath" .)) $text -}}
{{- if .Values.edge.podLabels.enabled -}}
{{- $text = replace "[agent]\n" "[agent]\n# The table of pods changes.\nreload = \"watch\"\n" $text -}}
{{- end -}}
{{ $text }}
{{- if .Values.edge.podLabels.enabled }}
# Labels of pods, by the table that the container `labels` writes.
[[sources.containers.interceptors]]
type = "lookup"
from = "pod_uid"
table = "${file:/labels/pods.csv}"
{{ end }}
{{- end }}
{{- end }}

{{- define "collector.toml" -}}
{{- if .Values.collector.config }}{{ .Values.collector.config }}{{ else -}}
{{- $text := .Files.Get "files/collector.toml" -}}
{{- $text = replace "hdfs://namenode:8020/logs/%Y-%m-%d/%{namespace}" .Values.collector.store $text -}}
{{- $text = replace "${file:/tls/token}" (printf "${file:%s/token}" (include "tokenPath" .)) $text -}}
{{ $text }}
{{- end }}
{{- end }}

{{- define "tokenPath" -}}
{{- if eq .Values.tls.mode "certManager" }}/token{{ else }}/tls{{ end }}
{{- end }}

{{- define "hadoopConfigMap" -}}
{{- default "hadoop" .Values.collector.hadoopConfigMap }}
{{- end }}

{{- define "issuerName" -}}
{{- required "set tls.issuer.name: cert-manager needs the name of an issuer" .Values.tls.issuer.name }}
{{- end }}

{{- /* Asks for the pods of this node: a table with a line for each. One line, since its indentation would be text. */ -}}
{{- define "labels.once" -}}
pods=$(kubectl get pods --all-namespaces --field-selector "spec.nodeName=$NODE_NAME" -o go-template='pod_uid
{{- range $header, $label := .Values.edge.podLabels.headers }},{{ $header }}{{ end }}
{{- `{{"\n"}}{{range .items}}{{.metadata.uid}}` }}
{{- range $header, $label := .Values.edge.podLabels.headers -}}
,{{ printf "{{with .metadata.labels}}{{with index . %q}}{{.}}{{end}}{{end}}" $label }}
{{- end }}{{ `{{"\n"}}{{end}}` }}')
{{- end }}

{{- define "labels.container" -}}
image: {{ required "set edge.podLabels.image: an image with kubectl and sh" .Values.edge.podLabels.image | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef: {fieldPath: spec.nodeName}
resources: {{- toYaml .Values.edge.podLabels.resources | nindent 2 }}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  runAsNonRoot: true
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - {name: labels, mountPath: /labels}
  - {name: api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
