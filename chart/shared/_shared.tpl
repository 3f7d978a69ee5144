{{/*
What the charts beside this folder share; each has a link to this file among its templates.
*/}}

{{/* The release's name, unless it does not tell what this is. 52 characters: a CronJob may have no more. */}}
{{- define "orderfood.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- trunc 52 $name | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of this release: never changes. */}}
{{- define "orderfood.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orderfood.labels" -}}
{{ include "orderfood.selectorLabels" . }}
app.kubernetes.io/part-of: orderfood
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "orderfood.metadata" -}}
name: {{ include "orderfood.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "orderfood.labels" . | nindent 2 }}
{{- end -}}

{{/* image and imagePullPolicy, out of a value {repository, tag, pullPolicy}. */}}
{{- define "orderfood.image" -}}
image: "{{ .repository }}:{{ .tag }}"
imagePullPolicy: {{ .pullPolicy }}
{{- end -}}

{{/* No container gains rights, and none writes anywhere but into its volumes. */}}
{{- define "orderfood.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- end -}}

{{/* What every pod of every chart has: no token, no rights, and where it may run. */}}
{{- define "orderfood.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" }}
{{- with index $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* memory, sqlite or postgresql. A URL in somebody else's Secret is taken for Postgres. */}}
{{- define "orderfood.backend" -}}
{{- if and .Values.storage.url .Values.storage.existingSecret -}}
{{- fail "give storage.url or storage.existingSecret, not both" -}}
{{- end -}}
{{- if not (regexMatch "^(memory://|sqlite:////data/.+|postgres(ql)?://\\S+)?$" .Values.storage.url) -}}
{{- fail "storage.url must be memory://, sqlite:////data/FILE or postgresql://user:password@host/db" -}}
{{- end -}}
{{- if and .Values.storage.passfile.existingSecret (regexMatch "^(memory|sqlite):" .Values.storage.url) -}}
{{- fail "storage.passfile is for a postgresql:// URL" -}}
{{- end -}}
{{- if hasPrefix "memory:" .Values.storage.url -}}memory
{{- else if hasPrefix "sqlite:" .Values.storage.url -}}sqlite
{{- else -}}postgresql
{{- end -}}
{{- end -}}

{{/* Which Secret holds the URL: this release's own, somebody's, or that of chart/postgres. */}}
{{- define "orderfood.storageSecret" -}}
{{- if .Values.storage.url -}}
name: {{ include "orderfood.fullname" . }}-database
key: url
{{- else -}}
name: {{ .Values.storage.existingSecret | default "orderfood-database" }}
key: {{ empty .Values.storage.existingSecret | ternary "url" .Values.storage.existingSecretKey }}
{{- end -}}
{{- end -}}

{{/* The Secret for storage.url. */}}
{{- define "orderfood.secret" -}}
{{- if .Values.storage.url }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "orderfood.fullname" . }}-database
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "orderfood.labels" . | nindent 4 }}
type: Opaque
data:
  url: {{ .Values.storage.url | b64enc }}
{{- end }}
{{- end -}}

{{/* The files of this release's own menu, as {name: entries}. The packaged sample orders belong to the sample user:
with other users there are none. */}}
{{- define "orderfood.fixtureFiles" -}}
{{- $files := dict -}}
{{- range $kind := list "products" "coupons" "orders" -}}
{{- $entries := index $.Values.fixtures $kind -}}
{{- if not (kindIs "invalid" $entries) -}}{{- $_ := set $files (printf "%s.json" $kind) $entries -}}{{- end -}}
{{- end -}}
{{- if and .Values.users.existingSecret (not (hasKey $files "orders.json")) -}}
{{- if not (has "orders.json" (include "orderfood.existingFixtures" . | fromJsonArray)) -}}
{{- $_ := set $files "orders.json" list -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* The files that come from somebody's ConfigMap, as a list of names. */}}
{{- define "orderfood.existingFixtures" -}}
{{- empty .Values.fixtures.existingConfigMap | ternary list .Values.fixtures.existingConfigMapKeys | toJson -}}
{{- end -}}

{{/* The ConfigMap for the menu in the values. */}}
{{- define "orderfood.fixtures" -}}
{{- with include "orderfood.fixtureFiles" . | fromJson }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "orderfood.fullname" $ }}-fixtures
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "orderfood.labels" $ | nindent 4 }}
data:
  {{- range $name, $entries := . }}
  {{ $name }}: {{ toJson $entries | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Each file of one's own covers the packaged one of its name: FIXTURES_DIR stays the image's. */}}
{{- define "orderfood.fixtureMounts" -}}
{{- range $name, $_ := include "orderfood.fixtureFiles" . | fromJson }}
- {name: fixtures, mountPath: /usr/local/share/orderfood/fixtures/{{ $name }}, subPath: {{ $name }}, readOnly: true}
{{- end }}
{{- range $name := include "orderfood.existingFixtures" . | fromJsonArray }}
- {name: existing-fixtures, mountPath: /usr/local/share/orderfood/fixtures/{{ $name }}, subPath: {{ $name }}, readOnly: true}
{{- end }}
{{- if .Values.users.existingSecret }}
- {name: users, mountPath: /usr/local/share/orderfood/fixtures/users.json, subPath: users.json, readOnly: true}
{{- end }}
{{- end -}}

{{/* The volumes of a pod that runs one of the three programs. "claim" names the claim of a SQLite file. */}}
{{- define "orderfood.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with .root }}
{{- if eq (include "orderfood.backend" .) "sqlite" }}
- name: data
  persistentVolumeClaim: {claimName: {{ $.claim }}}
{{- end }}
{{- if include "orderfood.fixtureFiles" . | fromJson }}
- name: fixtures
  configMap: {name: {{ include "orderfood.fullname" . }}-fixtures}
{{- end }}
{{- with .Values.fixtures.existingConfigMap }}
- name: existing-fixtures
  configMap: {name: {{ . }}}
{{- end }}
{{- with .Values.storage.passfile.existingSecret }}
- name: passfile
  secret:
    secretName: {{ . }}
    items: [{key: {{ $.root.Values.storage.passfile.existingSecretKey }}, path: passfile}]
{{- end }}
{{- with .Values.users.existingSecret }}
- name: users
  secret:
    secretName: {{ . }}
    items: [{key: {{ $.root.Values.users.existingSecretKey }}, path: users.json}]
{{- end }}
{{- end }}
{{- end -}}

{{/* Changes whenever something changes that the pods would not notice otherwise. */}}
{{- define "orderfood.checksums" -}}
checksum/fixtures: {{ include "orderfood.fixtureFiles" . | sha256sum }}
checksum/storage: {{ include "orderfood.secret" . | sha256sum }}
{{- end -}}

{{/* What a telemetry library reports of the pod itself. */}}
{{- define "orderfood.podEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if not (hasKey .Values.env "OTEL_RESOURCE_ATTRIBUTES") }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ .Release.Namespace }}
{{- end }}
{{- end -}}

{{/* A container of one of the three programs, from {root, name, image, fixtures (does it read them?), host?}. */}}
{{- define "orderfood.container" -}}
name: {{ .name }}
{{ include "orderfood.image" .image }}
env:
  - name: STORAGE_URL
    valueFrom:
      secretKeyRef:
        {{- include "orderfood.storageSecret" .root | nindent 8 }}
  {{- with .host }}
  - {name: HOST, value: {{ quote . }}}
  {{- end }}
  {{- include "orderfood.podEnv" .root | nindent 2 }}
  {{- range $name, $value := .root.Values.env }}
  {{- $text := ternary $value (toJson $value) (kindIs "string" $value) }}
  {{- if or $text (ne $name "SERVICE_VERSION") }}
  - name: {{ $name }}
    value: {{ quote $text }}
  {{- end }}
  {{- end }}
{{ include "orderfood.containerSecurity" . }}
resources:
  {{- toYaml .root.Values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if eq (include "orderfood.backend" .root) "sqlite" }}
  - {name: data, mountPath: /data}
  {{- end }}
  {{- if .root.Values.storage.passfile.existingSecret }}
  # the folder, not the file: only so a new password arrives in a pod that runs
  - {name: passfile, mountPath: /etc/orderfood/database, readOnly: true}
  {{- end }}
  {{- if .fixtures }}
  {{- include "orderfood.fixtureMounts" .root | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* `helm test`: places an order through the Service and reads it back, from {root, image, url}. Its pod has a
name label of its own, so that no Service takes it for one of its pods. */}}
{{- define "orderfood.test" -}}
{{- $root := .root -}}
{{- $test := $root.Values.test -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "orderfood.fullname" $root }}-test
  namespace: {{ $root.Release.Namespace }}
  labels:
    app.kubernetes.io/name: {{ $root.Chart.Name }}-test
    app.kubernetes.io/instance: {{ $root.Release.Name }}
    app.kubernetes.io/part-of: orderfood
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 120
  {{- include "orderfood.podBase" $root | nindent 2 }}
  containers:
    - name: place-order
      {{- include "orderfood.image" .image | nindent 6 }}
      command: [python, /usr/local/share/orderfood/place_order.py]
      env:
        - name: BASE_URL
          value: {{ .url | quote }}
        - name: API_KEY
          {{- if $test.existingSecret }}
          valueFrom: {secretKeyRef: {name: {{ $test.existingSecret }}, key: {{ $test.existingSecretKey }}}}
          {{- else }}
          value: apitest
          {{- end }}
      {{- include "orderfood.containerSecurity" . | nindent 6 }}
      resources:
        {{- toYaml $root.Values.resources | nindent 8 }}
{{- end -}}
