// A plain table. NiceGUI's own compiles the templates of its slots anew at every update, which puts new elements
// in the place of the old ones: whoever walks by keyboard would lose their place every two seconds.
export default {
  template: `
    <table :aria-label="label">
      <thead>
        <tr>
          <th v-for="col in columns" :key="col.name" scope="col" :class="kind(col)" :aria-sort="col.order || undefined">
            <button v-if="col.sorts" type="button" class="sorter" @click="$emit('sort', col.name)">{{ col.label
              }}<span aria-hidden="true">{{ arrows[col.order] }}</span></button>
            <template v-else>{{ col.label }}</template>
          </th>
        </tr>
      </thead>
      <tbody>
        <tr v-for="row in rows" :key="row.id">
          <td v-for="col in columns" :key="col.name" :data-label="col.label"
              :class="[kind(col), { blank: !row[col.name] && row[col.name] !== 0 }]">
            <a v-if="col.cell === 'link' && row.href" :href="row.href">{{ row[col.name] }}</a>
            <span v-else-if="col.cell === 'status'" :class="'status s-' + row[col.name]">{{ row[col.name] }}</span>
            <code v-else-if="col.cell === 'code'">{{ row[col.name] }}</code>
            <button v-else-if="col.cell === 'button' && row.act" type="button" tabindex="0" class="small"
              :aria-label="row.act_label" @click="$emit('act', { act: row.act, id: row.id })">{{ row.act_text }}</button>
            <template v-else-if="col.cell !== 'button'">{{ row[col.name] }}</template>
            <svg v-if="col.line && row[col.line]" class="spark" viewBox="0 0 80 20" preserveAspectRatio="none"
              role="img" :aria-label="row[col.line + '_text']"><path :d="row[col.line]" /></svg>
          </td>
        </tr>
      </tbody>
    </table>
  `,
  props: { columns: Array, rows: Array, label: String },
  emits: ["sort", "act"],
  data: () => ({ arrows: { ascending: " ↑", descending: " ↓" } }),
  beforeUpdate() {
    this.held = this.$el.contains(document.activeElement) ? document.activeElement : null;
  },
  updated() {
    // A row that comes to stand elsewhere is taken out and put in again, which takes the focus off it.
    if (this.held?.isConnected && document.activeElement !== this.held) this.held.focus({ preventScroll: true });
  },
  methods: {
    kind(col) {
      return ["c-" + col.cell, { extra: col.extra }];
    },
  },
};
