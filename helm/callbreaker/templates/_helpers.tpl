{{/* Name of every object: the release's, with the chart's where the release does not say it. */}}
{{- define "callbreaker.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the pods: never change between releases. */}}
{{- define "callbreaker.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "callbreaker.labels" -}}
{{ include "callbreaker.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
What runs, as JSON: one Deployment with every role, or one for each of .Values.roles.
Each has name, role (the command), component (its label; empty where there is one only), replicas, resources.
*/}}
{{- define "callbreaker.workloads" -}}
{{- $name := include "callbreaker.fullname" . -}}
{{- $found := list -}}
{{- range $role, $given := .Values.roles -}}
{{- $given = $given | default dict -}}
{{- $replicas := ternary 1 $given.replicas (kindIs "invalid" $given.replicas) -}}
{{- $short := $name | trunc (int (sub 62 (len $role))) | trimSuffix "-" -}}
{{- $found = append $found (dict "name" (printf "%s-%s" $short $role) "role" $role "component" $role "replicas" (int $replicas) "resources" ($given.resources | default $.Values.resources)) -}}
{{- else -}}
{{- $found = append $found (dict "name" $name "role" "run" "component" "" "replicas" (int .Values.replicas) "resources" .Values.resources) -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{/* The Service that takes webhooks, and the one that has the page: (dict "root" $ "role" ROLE). */}}
{{- define "callbreaker.serviceOf" -}}
{{- $role := .role -}}
{{- range include "callbreaker.workloads" .root | fromJsonArray -}}
{{- if has .role (list "run" $role) }}{{ .name }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Names that the configuration reads from the environment, each once, in a line, comma-separated. */}}
{{- define "callbreaker.variables" -}}
{{- $names := list -}}
{{- range regexFindAll "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" (toYaml .Values.config | replace "$${" "") -1 -}}
{{- $names = append $names (. | trimPrefix "${" | trimSuffix "}") -}}
{{- end -}}
{{- $names | uniq | sortAlpha | join ", " -}}
{{- end -}}

{{/*
Paths of secrets that the configuration writes out, one a line; never the secrets themselves.
Takes (dict "path" PATH "name" KEY "value" VALUE) and goes down maps and lists.
*/}}
{{- define "callbreaker.literalSecrets" -}}
{{- $node := . -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- include "callbreaker.literalSecrets" (dict "path" (printf "%s.%s" $node.path $key) "name" $key "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "callbreaker.literalSecrets" (dict "path" (printf "%s[%d]" $node.path $index) "name" $node.name "value" $value) -}}
{{- end -}}
{{- else if and .value (regexMatch "^(api_key|(.*_)?(token|secrets?|password))$" .name) -}}
{{- if not (regexMatch "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" (toString .value)) -}}
{{- println .path -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is missing or contradictory in the values, one line each; nothing when all is well. */}}
{{- define "callbreaker.problems" -}}
{{- $config := .Values.config -}}
{{- if not .Values.image.repository }}
- image.repository is empty: build the Dockerfile, push the image and name it here
{{- end }}
{{- if not .Values.existingSecret }}
- existingSecret is empty: name a Secret with the keys {{ include "callbreaker.variables" . | default "that config reads as ${NAME}" }}
{{- end }}
{{- if not $config.kafka.bootstrap_servers }}
- config.kafka.bootstrap_servers is empty: name your brokers as "host:port,host:port"; the embedded Kafka is for one machine and would not outlive its pod
{{- end }}
{{- if not (has (toString $config.http.host) (list "0.0.0.0" "::")) }}
- config.http.host is not 0.0.0.0 or "::": the kubelet and the Service could not reach the pod
{{- end }}
{{- if not $config.operators }}
- config.operators is empty: beyond loopback the operator API needs at least one, such as {name: ops, role: operator, token: "${OPS_TOKEN}"}
{{- end }}
{{- range include "callbreaker.literalSecrets" (dict "path" "config" "name" "config" "value" $config) | trim | splitList "\n" | compact }}
- {{ . }} is written out: put it into the Secret and write "${NAME}" here, since a ConfigMap is no place for secrets
{{- end }}
{{- if and .Values.dataDir.persistent (not .Values.roles) (gt (int .Values.replicas) 1) }}
- dataDir.persistent is true with {{ int .Values.replicas }} replicas: one claim serves one pod; set replicas: 1 or dataDir.persistent: false
{{- end }}
{{- if and $config.http.spool (not .Values.dataDir.persistent) }}
- config.http.spool is set and dataDir.persistent is not true: what is kept there would go with the pod, though its sender was told 200; set dataDir.persistent: true, or leave config.http.spool out
{{- end }}
{{- if .Values.roles }}
{{- range list "ingest" "correlate" "guard" "terminate" "console" }}
{{- if not (hasKey $.Values.roles .) }}
- roles leaves out {{ . }}: name all five, ingest, correlate, guard, terminate and console, or none for pods that are everything
{{- end }}
{{- end }}
{{- if .Values.dataDir.persistent }}
- dataDir.persistent is true with roles: one claim serves one pod; set dataDir.persistent: false, views are built again from Kafka
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
- ingress.host is empty: give the name that providers call
{{- end }}
{{- end -}}
