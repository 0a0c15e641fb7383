// Lines. The library that draws them is a megabyte of script: it is fetched once the page stands, so that nobody
// waits for it who only wants to read a figure or press a button.
export default {
  template: "<div></div>",
  props: { options: Object },
  async mounted() {
    const { echarts } = await import("nicegui-echart");
    if (!this.$el.isConnected) return;
    this.chart = echarts.init(this.$el, null, { renderer: "svg" });
    this.draw();
    this.observer = new ResizeObserver(() => this.chart.resize());
    this.observer.observe(this.$el);
  },
  beforeUnmount() {
    this.observer?.disconnect();
    this.chart?.dispose();
  },
  watch: {
    options() {
      this.draw();
    },
  },
  methods: {
    draw() {
      const count = this.chart?.getOption()?.series?.length;
      this.chart?.setOption(this.options, { notMerge: count !== this.options.series.length });
    },
  },
};
